"""A server."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, repr=False)
class ServerInfo:
    """A server's versions, device, limits and data folder.

    Attributes
    ----------
    version : str
        Version of fc7.
    libraries : dict of str to str
        Versions of the libraries that compute and store.
    device : str
        Device that the server was told to use: "auto", "cpu" or "cuda".
    provider : str
        What runs the networks, for example "CPUExecutionProvider".
    threads : int
        Threads for networks.
    data : str
        The data folder.
    max_message_bytes : int
        Largest request or answer.
    models : list of str
        Names of its models, the default first.
    pid : int
        Process id.
    uptime_s : float
        Seconds since it started.
    telemetry : str
        "off", or why it is not certain that the libraries send no usage data.
    max_calls : int
        Calls that may run at once. 0 if the server does not say.
    running_calls : dict of str to int
        Calls that run now, this one among them, by method.
    training : list of str
        Heads that are trained now, or wait for their turn.
    building : list of str
        Collections of which an index, or the statistics of its pairs, is built now.
    """

    version: str
    libraries: dict[str, str]
    device: str
    provider: str
    threads: int
    data: str
    max_message_bytes: int
    models: list[str]
    pid: int
    uptime_s: float
    telemetry: str
    max_calls: int = 0
    running_calls: dict[str, int] = field(default_factory=dict)
    training: list[str] = field(default_factory=list)
    building: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"ServerInfo(fc7 {self.version}, {self.device}, models {' '.join(self.models)})"
