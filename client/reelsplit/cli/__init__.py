"""The command `reelsplit`; its libraries are the extra `reelsplit[cli]`."""
