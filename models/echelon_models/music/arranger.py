"""One bar of music: which tracks play, how densely, which pitches, how phrases end.

Rhythm is chosen by density from the levels of the style, so more density only ever adds onsets. Phrases are four bars
in pairs of eight; lead and arpeggio answer each other every two bars; fills stand at the ends of phrases.
"""

from __future__ import annotations

from dataclasses import dataclass

from echelon_engine.vocabulary import DRUM_SOUND
from echelon_models.music import harmony, melody, tokens
from echelon_models.music.harmony import Chord
from echelon_models.music.patterns import (
    BAR,
    FF,
    GHOST,
    LEGATO,
    MF,
    NONE,
    PP,
    STAC,
    Note,
    chance,
    draw,
    threshold,
)
from echelon_models.music.score import Heard
from echelon_models.music.sections import BREAKDOWN, BUILD, CLIMAX, GROOVE, INTRO, OUTRO, Form
from echelon_models.music.style import FILL_LETTERS, Part, Style, Track

KICK, SNARE, HH, CLAP, BASS, PAD, LEAD, STAB, ARP, FX, VOX, AMB = range(12)
OPEN_HAT = tokens.DRUMS.index("oh")
PHRASE = 4  # bars
VOICES = (PAD, VOX, AMB)  # led together, each one tone of the chord
DELAY_BIT = 1 << tokens.EFFECTS.index("delay")
OUTRO_BARS = 4  # then silence, until the body moves
OUTRO_LEAVES = ((), (KICK, SNARE, CLAP), (KICK, SNARE, CLAP, HH, FX, STAB, ARP, LEAD))
ANSWER = 0.3  # how much more density a voice wants while the other one leads

Rows = list[list[Note]]
Cells = dict[int, tuple[int, int]]  # step: level, and drum or -1


@dataclass(frozen=True, slots=True)
class Scene:
    """What holds for one bar: where it is, what was heard, and the chords of its two halves."""

    style: Style
    bar: int
    age: int  # bars since the section began
    section: int
    heard: Heard
    chords: tuple[tuple[int, ...], tuple[int, ...]]  # pitch classes, root first
    following: Chord

    def tones(self, step: int) -> tuple[int, ...]:
        """Return the chord's pitch classes at a step 0..15."""
        return self.chords[step // 8]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar as wished: notes of each track (steps 0..15), chord masks of both halves, where tracks break off."""

    rows: Rows
    chords: tuple[int, int]
    breaks: dict[int, int]  # track: step from which nothing of it sounds


EMPTY = Bar([[] for _ in tokens.TRACKS], (0, 0), {})


class Arranger:
    """Writes bars; remembers `pitch`, the note on which each track stands, and nothing else."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.pitch: dict[int, int] = {}

    def bar(self, style: Style, form: Form, bar: int, heard: Heard, *, ahead: bool = False) -> Bar:
        """Return bar number `bar`, in which `form` stands.

        `ahead` makes the bar after the one that `form` stands at, and remembers nothing of it.
        """
        scene = self._scene(style, form, bar, heard, form.age + ahead)
        rows: Rows = [[] for _ in tokens.TRACKS]
        breaks: dict[int, int] = {}
        if scene.section != OUTRO or scene.age < OUTRO_BARS:
            before = dict(self.pitch)
            for track, cells in sorted(self._choose(scene).items()):
                rows[track] = self._track(scene, track, cells)
            if style.crash and not scene.age and scene.section in (GROOVE, CLIMAX) and bar:
                first = [Note(0, DRUM_SOUND + OPEN_HAT, 1)]
                rows[FX] = first + [n for n in rows[FX] if n.step]
            breaks = self._fill(scene, rows)
            if ahead:
                self.pitch = before
        return Bar(rows, (harmony.mask(scene.chords[0]), harmony.mask(scene.chords[1])), breaks)

    def _scene(self, style: Style, form: Form, bar: int, heard: Heard, age: int) -> Scene:
        progression = style.progressions[form.section]
        written = progression[age % len(progression)]
        first, second = written[0], written[-1]
        tension = heard.of("harmonic_tension")
        ends = age % PHRASE == PHRASE - 1
        if style.cadence is not None and ends and tension > harmony.NINTH_AT and len(written) == 1:
            second = style.cadence
        following = progression[(age + 1) % len(progression)][0]
        return Scene(style, bar, age, form.section, heard, (first.at(tension), second.at(tension)), following)

    def _playing(self, scene: Scene) -> frozenset[int]:
        playing = scene.style.playing[scene.section]
        if scene.section == OUTRO:
            playing -= frozenset(OUTRO_LEAVES[min(scene.age, len(OUTRO_LEAVES) - 1)])
        return playing

    def _part(self, scene: Scene, track: int) -> Part:
        voice = scene.style.tracks[track]
        assert voice is not None  # the style was checked
        alternatives = voice.parts[scene.section]
        return alternatives[int(chance(self.seed, track, scene.bar // (2 * PHRASE), 1) * len(alternatives))]

    def _choose(self, scene: Scene) -> dict[int, Cells]:
        """Return the cells that sound, by track: those of level 1, and of all others as many as the density says.

        The cells of all tracks stand in one queue by their thresholds, so a section with fewer tracks lets each of
        them say more, and the number of onsets follows the body whatever the arrangement.
        """
        heard = scene.heard
        queue: list[tuple[float, int, int, int, int]] = []
        for track in self._playing(scene):
            part = self._part(scene, track)
            moved = self._eagerness(scene, track)
            for drum, levels in (*part.drums, (-1, part.play)):
                if levels:
                    self._enqueue(queue, scene, track, drum, levels, moved)
        queue.sort()
        few, many = scene.style.onsets_a_bar
        density = 0.7 * heard.of("rhythmic_density") + 0.3 * heard.of("hat_density")
        if scene.section == OUTRO:
            density *= max(0.75 - 0.25 * scene.age, 0.0)
        wanted = few + (many - few) * density
        found: dict[int, Cells] = {}
        count = 0
        for rank, track, step, level, drum in queue:
            cells = found.setdefault(track, {})
            if step not in cells:
                if rank >= 0.0 and count >= wanted:
                    break
                cells[step] = (level, drum)
                count += 1
            elif level < cells[step][0]:
                cells[step] = (level, drum)
        return {track: cells for track, cells in found.items() if cells}

    def _eagerness(self, scene: Scene, track: int) -> float:
        """Return how much later (or, negative, earlier) a track's cells come than they say."""
        if track in (HH, FX):
            return 0.5 * (0.5 - scene.heard.of("hat_density"))
        if scene.section == BUILD and track == SNARE:
            return -0.08 * min(scene.age, 6)
        leads = scene.age // 2 % 2 == 0  # the lead calls, the arpeggio responds
        if (track == LEAD and not leads) or (track == ARP and leads):
            return ANSWER
        return 0.0

    def _enqueue(
        self,
        queue: list[tuple[float, int, int, int, int]],
        scene: Scene,
        track: int,
        drum: int,
        levels: tuple[int, ...],
        moved: float,
    ) -> None:
        """Add a part's cells to the queue as (threshold, track, step, level, drum)."""
        offset = BAR if len(levels) > BAR and scene.bar % 2 else 0
        loose = 1.0 - scene.heard.of("arrangement_stability")
        syncopation = scene.heard.of("syncopation")
        # Mostly a phrase varies as a whole, a little does each bar: sixteen numbers of four bits each.
        phrase = draw(self.seed, scene.bar // PHRASE, track, drum)
        bar = draw(self.seed, scene.bar, track, drum, 7)
        for step in range(BAR):
            level = levels[offset + step]
            if level == 1:
                queue.append((-1.0, track, step, level, drum))
            elif level:
                vary = ((phrase >> 4 * step & 15) + 0.4 * (bar >> 4 * step & 15)) / 21.0
                rank = threshold(level, step, syncopation, loose * (2.0 * vary - 1.0)) + moved
                queue.append((rank if rank > 0.0 else 0.0, track, step, level, drum))

    def _track(self, scene: Scene, track: int, cells: Cells) -> list[Note]:
        voice = scene.style.tracks[track]
        assert voice is not None
        part = self._part(scene, track)
        steps = sorted(cells)
        pitches = self._pitches(scene, track, voice, part, [s for s in steps if cells[s][1] < 0])
        notes = []
        loud = self._loudness(scene, track, voice)
        effects = voice.effects[scene.section]
        for i, step in enumerate(steps):
            level, drum = cells[step]
            feel = part.feel[step + (BAR if len(part.feel) > BAR and scene.bar % 2 else 0)]
            if drum >= 0:
                notes.append(Note(step, DRUM_SOUND + drum, level, loud, feel, 1, 1, effects))
                continue
            room = (steps[i + 1] if i + 1 < len(steps) else BAR + 2) - step
            duration, articulation = self._length(scene, voice, feel, room)
            notes.append(Note(step, pitches[step], level, loud, articulation, duration, 1, effects))
        if notes and track in (LEAD, STAB) and scene.age % PHRASE == PHRASE - 1 and scene.heard.of("delay") > 0.5:
            last = notes[-1]  # the phrase's last word echoes
            notes[-1] = Note(
                last.step, last.sound, 1, last.velocity, last.articulation, last.duration, 1, effects | DELAY_BIT
            )
        return notes

    def _loudness(self, scene: Scene, track: int, voice: Track) -> int:
        if track == KICK:
            return MF  # every grid begins at mf, and a kick is as loud on one as on two
        moved = {CLIMAX: 1, BREAKDOWN: -1, OUTRO: -1}.get(scene.section, 0)
        if scene.section == BUILD:
            moved = 1 if scene.age >= 2 else 0
        return min(max(voice.velocity + moved, PP), FF)

    def _length(self, scene: Scene, voice: Track, feel: int, room: int) -> tuple[int, int]:
        """Return duration in sixteenths and articulation of a note with `room` steps to the next one."""
        legato = scene.heard.of("articulation")
        if voice.length:
            return voice.length, LEGATO if feel == NONE and voice.length >= 8 else feel
        if feel in (STAC, GHOST):
            return (1 if legato < 0.6 else min(room, 2)), feel
        most = 1 if legato < 0.2 else 2 if legato < 0.45 else 4 if legato < 0.75 else 8
        duration = max(d for d in tokens.SIXTEENTHS if d <= max(min(room, most), 1))
        if feel != NONE:
            return duration, feel
        return duration, STAC if legato < 0.3 else LEGATO if legato > 0.7 and duration > 1 else NONE

    def _pitches(self, scene: Scene, track: int, voice: Track, part: Part, steps: list[int]) -> dict[int, int]:
        if not steps:
            return {}
        low, high = voice.register
        was = self.pitch.get(track, (low + high) // 2)
        if track == LEAD:
            found = melody.lead(scene, self.seed, steps, low, high)
        elif track == ARP:
            found = melody.arpeggio(scene, voice.shape, steps, low, high)
        elif track == BASS:
            found = melody.bass(scene, part.tones, steps, low, high)
        elif track in VOICES:
            taken = {p % 12 for t, p in self.pitch.items() if t in VOICES and t < track}
            moves = chance(self.seed, scene.bar, track, 4) < 0.6
            found = melody.held(scene, steps, was, low, high, harmony.mask(taken), moves)
        else:
            found = melody.stabs(scene, part.tones, steps, was, low, high)
        self.pitch[track] = found[steps[-1]]
        return found

    def _fill(self, scene: Scene, rows: Rows) -> dict[int, int]:
        """Put a fill over the end of a phrase, the more `fill_rate` the oftener and the longer; return the breaks."""
        breaks: dict[int, int] = {}
        fills = scene.style.fills
        if scene.age % PHRASE != PHRASE - 1 or not fills or scene.section in (INTRO, OUTRO):
            return breaks
        rate = scene.heard.of("fill_rate")
        ends_eight = scene.age // PHRASE % 2 == 1
        if chance(self.seed, scene.bar, 2) >= 0.15 + rate + (0.3 if ends_eight else 0.0):
            return breaks
        beats = 1 + round(rate * (3 if ends_eight else 1.5))
        start = max(BAR - 4 * beats, 0)
        for track, text in fills[int(chance(self.seed, scene.bar, 3) * len(fills))]:
            if track not in scene.style.playing[scene.section] and track != SNARE:
                continue
            struck = [step for step in range(start, BAR) if text[step] not in ".!"]
            if "!" in text:
                breaks[track] = max(text.index("!"), start)
            end = start if struck else breaks.get(track, BAR)
            rows[track] = [n for n in rows[track] if n.step < end]
            sound = DRUM_SOUND + 1
            for step in struck:
                letter = text[step]
                sound = sound if letter == "*" else DRUM_SOUND + FILL_LETTERS[letter]
                velocity = min(MF + (step - start) // 6, FF)
                rows[track].append(Note(step, sound, 3, velocity, NONE, 1, 2 if letter == "*" else 1))
            if breaks.get(track, BAR) <= (rows[track][-1].step if rows[track] else -1):
                del breaks[track]  # it is struck again later
        return breaks
