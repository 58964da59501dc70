"""Every setting of the product with its type, default, range and one line of explanation: the only such place.

A configuration is one `Config`, read from TOML by `config_file`. Keys are written `section.key`. What can also be
changed while the engine plays is listed in `live`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from echelon_engine.scales import SCALES as SCALES
from echelon_engine.scales import Scale

BUILT_IN = "built-in"


def _about(text: str) -> Meta:
    return Meta(description=text)


class Engine(Struct, frozen=True, kw_only=True):
    """Which engine this is."""

    name: Annotated[
        str, Meta(description="tells several engines on one machine apart", pattern=r"^[A-Za-z0-9_-]{1,32}$")
    ] = "echelon"


class Audio(Struct, frozen=True, kw_only=True):
    """Where the sound goes."""

    device: Annotated[str, _about("name or index from `devices`; 'default', or 'null' for no sound card")] = "default"
    rate_hz: Annotated[Literal[44100, 48000, 88200, 96000], _about("sample rate in Hz")] = 48000
    block: Annotated[
        int, Meta(ge=64, le=2048, multiple_of=64, description="frames per block; smaller is quicker, larger safer")
    ] = 512
    priority: Annotated[
        int, Meta(ge=0, le=95, description="real-time priority (SCHED_FIFO) asked for; 0 asks for none")
    ] = 70
    channels: Annotated[int, Meta(ge=2, le=32, description="output channels to open")] = 2
    left: Annotated[int, Meta(ge=1, le=32, description="output channel that plays the left side")] = 1
    right: Annotated[int, Meta(ge=1, le=32, description="output channel that plays the right side")] = 2


class Motion(Struct, frozen=True, kw_only=True):
    """Whose body plays."""

    file: Annotated[str, _about("BVH or DeepMimic clip played as if live; empty: sensors, or the dancer")] = ""
    loop: Annotated[bool, _about("play the file again when it ends")] = False
    low_latency: Annotated[bool, _about("newest frame, extrapolated, instead of the de-jitter delay")] = False
    delay_ms: Annotated[float, Meta(ge=0.0, le=500.0, description="de-jitter delay of live motion")] = 40.0
    velocity_scale: Annotated[float, Meta(ge=0.1, le=20.0, description="m/s that count as a strong gesture")] = 2.0
    energy_scale: Annotated[
        float, Meta(ge=0.1, le=10.0, description="the band hears a performer's energy so many times")
    ] = 1.0
    idle_seconds: Annotated[float, Meta(ge=0.5, le=600.0, description="seconds without motion until it rests")] = 5.0
    performers: Annotated[int, Meta(ge=1, le=4, description="how many bodies may send at once")] = 1
    focus: Annotated[int, Meta(ge=0, le=3, description="which performer is heard, from 0")] = 0


class Dancer(Struct, frozen=True, kw_only=True):
    """The built-in performer that plays until the first sensor is heard."""

    enabled: Annotated[bool, _about("dance until the first body is received")] = True
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1, description="same seed, same dance")] = 1
    tempo_bpm: Annotated[float, Meta(ge=40.0, le=180.0, description="peaks of energy a minute")] = 96.0


SENSOR_KINDS = ("mocopi", "vmc", "phones")  # each has its key in [ports]
MOST_PORT = 65535


class Ports(Struct, frozen=True, kw_only=True):
    """Where sensors reach it (UDP); 0 closes a port."""

    bind: Annotated[str, _about("address to listen on; phones must reach it")] = "0.0.0.0"
    mocopi: Annotated[int, Meta(ge=0, le=65535, description="Sony mocopi, native; performer n listens n higher")] = (
        12351
    )
    vmc: Annotated[int, Meta(ge=0, le=65535, description="VMC over OSC; performer n listens n higher")] = 39539
    phones: Annotated[
        int, Meta(ge=0, le=65535, description="phones and trackers over OSC or JSON; performer n listens n higher")
    ] = 9000


class Sensors(Struct, frozen=True, kw_only=True):
    """Who holds what."""

    roles: Annotated[
        str, _about("devices and what they are, 'PERFORMER.ROLE=DEVICE, ..': 0.left=zigsim:abc, 0.right=192.168.1.7")
    ] = ""
    relay: Annotated[str, _about("host:port that gets the body on as VMC; empty: nobody")] = ""


class Instrument(Struct, frozen=True, kw_only=True):
    """What it plays."""

    root_note: Annotated[int, Meta(ge=12, le=96, description="MIDI note of the scale's first degree")] = 45
    scale: Annotated[Scale, _about("which notes the height of the hands selects")] = "minor_pentatonic"
    snap_ratios: Annotated[bool, _about("operator ratios snap to small integer ratios")] = False
    notes_from_motion: Annotated[bool, _about("strikes and held motion play notes")] = True
    harmony: Annotated[bool, _about("while the band plays, those notes keep to its key and chords")] = True


class Clock(Struct, frozen=True, kw_only=True):
    """The musical clock (4/4)."""

    tempo_bpm: Annotated[
        float, Meta(ge=20.0, le=300.0, description="beats a minute; one that is chosen is kept, whatever the style")
    ] = 110.0
    source: Annotated[
        Literal["fixed", "style", "performer", "external"],
        _about(
            "who sets the tempo: you, the style, the performer's own rhythm within the style's range, MIDI clock, Link"
        ),
    ] = "style"
    link: Annotated[
        bool, _about("join Ableton Link on the local network: it is the external clock, and gets this tempo")
    ] = False


class Band(Struct, frozen=True, kw_only=True):
    """The twelve voices that play with the performer, and who conducts them."""

    enabled: Annotated[bool, _about("the band plays")] = True
    style: Annotated[str, _about("what it plays: a style's name; `styles` lists them")] = "house"
    mode: Annotated[
        Literal["rules", "continuous", "diffusion", "coupled"],
        _about("who moves it: thresholds, 16 continuous mappings, or models"),
    ] = "continuous"
    level_db: Annotated[float, Meta(ge=-60.0, le=12.0, description="level of the band")] = 0.0
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1, description="same seed and motion, same notes")] = 1
    styles: Annotated[str, _about("folder with styles of your own (TOML); empty: none")] = ""


class Show(Struct, frozen=True, kw_only=True):
    """What is prepared for the stage."""

    file: Annotated[str, _about("TOML file of cues, stepped while it plays; empty: none")] = ""


class Models(Struct, frozen=True, kw_only=True):
    """Weights: a safetensors file, or the built-in set."""

    gated: Annotated[str, _about("DELL gated: motion to the 32 parameters")] = BUILT_IN
    coupled: Annotated[str, _about("DELL coupled: limbs to z")] = BUILT_IN
    coupled_boundary: Annotated[
        Literal["frames", "beats"], _about("its slow solver runs every 24 frames, or at the beats of the musical clock")
    ] = "frames"
    lim_rps: Annotated[str, _about("LIM-RPS: sensors to one latent")] = BUILT_IN


class Output(Struct, frozen=True, kw_only=True):
    """How loud, and what is kept."""

    master_db: Annotated[
        float, Meta(ge=-80.0, le=0.0, description="master volume in dB; it comes after the limiter")
    ] = 0.0
    record: Annotated[str, _about("WAV file that gets what is heard; empty: none")] = ""
    record_format: Annotated[Literal["float32", "pcm24"], _about("sample format of the recording")] = "float32"


class Nats(Struct, frozen=True, kw_only=True):
    """Messages over NATS."""

    url: Annotated[str, _about("server, nats://.. or tls://..; 'embedded' starts one on loopback; empty: none")] = ""
    credentials: Annotated[str, _about("credentials file (.creds) of the connection")] = ""
    nkey: Annotated[str, _about("NKey seed file of the connection")] = ""
    tls_ca: Annotated[str, _about("certificate authority of the server, PEM file; empty: the system's")] = ""
    tls_cert: Annotated[str, _about("certificate of this client, PEM file")] = ""
    tls_key: Annotated[str, _about("key of this client's certificate, PEM file")] = ""
    encoding: Annotated[Literal["json", "msgpack"], _about("how messages are written")] = "json"
    rate_hz: Annotated[float, Meta(ge=0.1, le=60.0, description="params and state a second")] = 60.0
    body: Annotated[bool, _about("publish limb frames, too: a measurement of a person's body")] = False
    port: Annotated[int, Meta(ge=0, le=65535, description="loopback port of the embedded server; 0: a free one")] = 4222
    folder: Annotated[str, _about("where the embedded server stores bars; empty: the user's state folder")] = ""


class Osc(Struct, frozen=True, kw_only=True):
    """Messages over OSC."""

    targets: Annotated[str, _about("host:port, .. that get parameters, state and notes; empty: nobody")] = ""
    rate_hz: Annotated[float, Meta(ge=0.1, le=60.0, description="parameters and state a second")] = 60.0
    body: Annotated[bool, _about("send limb frames, too: a measurement of a person's body")] = False
    bind: Annotated[str, _about("address on which controllers are heard")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="UDP port on which controllers are heard; 0: none")] = 0


class Midi(Struct, frozen=True, kw_only=True):
    """Messages over MIDI."""

    output: Annotated[str, _about("port that gets notes and parameters; 'virtual' makes one; empty: none")] = ""
    input: Annotated[str, _about("port whose notes and controllers play; 'virtual' makes one; empty: none")] = ""
    channel: Annotated[int, Meta(ge=1, le=16, description="channel of what is sent")] = 1
    parameters: Annotated[Literal["off", "cc", "nrpn"], _about("how the 32 parameters are sent")] = "cc"
    rate_hz: Annotated[float, Meta(ge=0.1, le=60.0, description="parameters a second")] = 30.0
    clock: Annotated[bool, _about("send the musical clock, 24 ticks a beat")] = False
    map: Annotated[str, _about("TOML file of controllers onto settings; empty: the learned one")] = ""


class Session(Struct, frozen=True, kw_only=True):
    """What is kept of a performance."""

    log: Annotated[str, _about("folder that gets one folder a session; empty: none is kept")] = ""


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration; `chosen` holds the keys that a person set, all others are defaults."""

    engine: Engine = Engine()
    audio: Audio = Audio()
    motion: Motion = Motion()
    dancer: Dancer = Dancer()
    ports: Ports = Ports()
    sensors: Sensors = Sensors()
    instrument: Instrument = Instrument()
    clock: Clock = Clock()
    band: Band = Band()
    show: Show = Show()
    models: Models = Models()
    output: Output = Output()
    nats: Nats = Nats()
    osc: Osc = Osc()
    midi: Midi = Midi()
    session: Session = Session()
    chosen: frozenset[str] = frozenset()

    def is_chosen(self, key: str) -> bool:
        """Return whether a person set `section.key` (a default that fails may be only a warning)."""
        return key in self.chosen
