"""The operations on the account's callback."""

from __future__ import annotations

from collections.abc import Mapping

from reelsplit_server.access.callers import Caller
from reelsplit_server.ims.actions import Action, Answer, UseCases, known_choice
from reelsplit_server.ims.errors import missing
from reelsplit_server.ims.parameters import Parameters

_MOST_NAMES = 200


class CallbackActions:
    """Setting and telling the address."""

    def __init__(self, cases: UseCases) -> None:
        self._cases = cases

    @property
    def table(self) -> Mapping[str, Action]:
        """The operations by name."""
        return {"SetEventCallback": self.set, "GetEventCallback": self.get}

    async def set(self, caller: Caller, given: Parameters) -> Answer:
        """SetEventCallback; without an address there is none from then on."""
        known_choice(
            "CallbackType", given.text("CallbackType"), "HTTP", "this server has no queues"
        )
        secret = given.text("AuthKey")
        signs = given.chosen("AuthSwitch", ("on", "off"))
        if signs == "on" and secret is None:
            raise missing("AuthKey", "is required with AuthSwitch on")
        await self._cases.callbacks.set(
            caller,
            url=given.text("CallbackURL", most=2**13) or "",
            secret=secret if signs != "off" else None,
            event_types=given.listed("EventTypeList", _MOST_NAMES),
        )
        return {"Success": True}

    async def get(self, caller: Caller, given: Parameters) -> Answer:
        """GetEventCallback."""
        found = await self._cases.callbacks.get(caller)
        if found is None:
            return {
                "CallbackType": "HTTP",
                "CallbackURL": "",
                "AuthSwitch": "off",
                "AuthKey": "",
                "EventTypeList": "",
                "CallbackQueueName": "",
            }
        return {
            "CallbackType": "HTTP",
            "CallbackURL": found.url,
            "AuthSwitch": "off" if found.secret is None else "on",
            "AuthKey": found.secret or "",
            "EventTypeList": ",".join(found.event_types),
            "CallbackQueueName": "",
        }
