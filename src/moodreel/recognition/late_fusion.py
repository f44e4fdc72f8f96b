"""Predicting with a late bundle: one network for the face, one for the voice, fused afterwards."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moodreel.bundle import Bundle
from moodreel.errors import BundleError, MediaError
from moodreel.face.alignment import align_face
from moodreel.face.appearance import AppearanceReader
from moodreel.face.detector import FaceDetector
from moodreel.face.expression import MOST_CROPS, ExpressionReader, Expressions, join_expressions, read_faces
from moodreel.face.mouth_motion import STILL, MouthMotion
from moodreel.face.people import TrackedPerson, group_people
from moodreel.face.tracking import ANALYSIS_LONG_SIDE_PX, ANALYSIS_RATE_HZ, FaceTracker, TrackingOptions
from moodreel.inference import output_width
from moodreel.media.clip import Clip
from moodreel.media.frames import Frame
from moodreel.media.read_ahead import read_ahead, report_progress
from moodreel.media.sounds import Sound
from moodreel.recognition.evidence import Answer, Evidence, Own, SeenPerson, find_scope, pool_log_probabilities
from moodreel.recognition.fusion import ClipLogits, FloatArray, Fusion, read_fusion
from moodreel.recognition.lip_reading import SpeakerReader
from moodreel.recognition.own_voices import hear_apart, list_turns
from moodreel.recognition.prediction import Box
from moodreel.recognition.prediction_parts import EVERYONE, MOST_PRESENT, MOST_SPEAKING
from moodreel.recognition.speaker_pass import read_turns
from moodreel.recognition.speakers import Turns
from moodreel.recognition.speaks_for import read_number
from moodreel.recognition.stretches import (
    NOT_HEARD,
    SEAM_S,
    SceneStretch,
    SeamReader,
    fit_together,
    join_stretches,
)
from moodreel.timeline import count_windows, stretch_times, window_times, windows_between
from moodreel.voice.listener import Heard, Voice, VoiceListener, VoiceWindow, read_voice
from moodreel.voice.sounds import SoundNetwork
from moodreel.voice.speech import RATE_HZ

if TYPE_CHECKING:
    import onnxruntime

DETECT_EVERY_S = 0.4
"""Seconds between detections: in every second analysed frame. Oftener, a 720p clip runs below 5 times real time."""

_DURATION_DIGITS = 9
"""Counted on from where decoding began, the end of a clip is another one in its last bits."""


@dataclass(frozen=True)
class WatchedPerson:
    """One person, and what the face network said of each frame.

    Attributes:
        tracked: where and when the person was seen.
        expressions: the face network's answers, in the order of time.
    """

    tracked: TrackedPerson
    expressions: Expressions


@dataclass(frozen=True)
class Scene:
    """What the two networks made of one clip, before anything is added.

    Attributes:
        clip: the clip as the user named it.
        duration_s: its length in seconds.
        has_video: whether it holds a picture.
        has_sound: whether it holds sound.
        frame_count: how many of its pictures could be read.
        people: the people seen, most present first.
        voice: the voice network's answers.
        warnings: of the media, one line each.
        speech: whose the voice is; `None` where nothing tells.
        speakers: one of `SPEAKER_STATES`: why.
    """

    clip: str
    duration_s: float
    has_video: bool
    has_sound: bool
    frame_count: int
    people: Sequence[WatchedPerson]
    voice: Voice
    warnings: Sequence[str]
    speech: Speech | None = None
    speakers: str = "not_told"


@dataclass(frozen=True, eq=False)
class Speech:
    """Whose the voice is.

    Attributes:
        turns: who speaks how likely at each moment.
        voices: each speaker's own voice by number, under `None` what comes from off screen.
    """

    turns: Turns
    voices: Mapping[int | None, Voice]


@dataclass(frozen=True, eq=False)
class Description:
    """What one clip is to the networks of a late bundle, pooled over time as its answer is, for training.

    Attributes:
        logits: what they say before it is calibrated.
        face: mean of the features of the person's faces, float64, shape (d,); `None` without a face.
        voice: mean of the statistics of the speech, float64, shape (d,); `None` without speech.
        seen: some of the person's faces as the network was given them, uint8, shape (n, side, side, 3).
        heard: the speech as the network was given it, and what each stretch counts for; the beginning of a long clip.
    """

    logits: ClipLogits
    face: FloatArray | None
    voice: FloatArray | None
    seen: npt.NDArray[np.uint8] | None = None
    heard: tuple[tuple[Heard, float], ...] = ()


@dataclass(frozen=True)
class LateNetworks:
    """The opened networks of a late bundle, and what adds their answers.

    Attributes:
        title: name and version of the bundle.
        fusion: how the answers are calibrated and added.
        face: the face network.
        voice: the voice network.
        sounds: what tells speech from other sounds; `None` where the bundle has no such network.
        detector: what finds the faces.
        tracking: how faces are followed and cut out.
        no_speech_below_db: below this estimated speech-to-background ratio nobody is taken to speak.
        appearance: what tells people apart; `None` where the bundle has nothing that does.
        speaker: what reads lips; `None` where the bundle has nothing that does.
    """

    title: str
    fusion: Fusion
    face: onnxruntime.InferenceSession
    voice: onnxruntime.InferenceSession
    sounds: SoundNetwork | None
    detector: FaceDetector
    tracking: TrackingOptions
    no_speech_below_db: float
    appearance: AppearanceReader | None = None
    speaker: SpeakerReader | None = None

    @classmethod
    def open(cls, bundle: Bundle, *, threads: int) -> LateNetworks:
        """Open the networks of a late bundle, and try them.

        Args:
            bundle: the opened bundle.
            threads: processor threads that a network may use.

        Raises:
            BundleError: the bundle lacks a network or a number that predicting needs.
        """
        side_px = int(bundle.number("face", "side_px", 96, 16, 512))
        networks = cls(
            title=bundle.title,
            fusion=read_fusion(bundle.section("fusion")),
            face=bundle.session("face", threads),
            voice=bundle.session("voice", threads),
            sounds=SoundNetwork.open(bundle, threads),
            detector=FaceDetector(),
            tracking=TrackingOptions(detect_every_s=DETECT_EVERY_S, side_px=side_px),
            no_speech_below_db=bundle.number("voice", "no_speech_below_db", -200, -200, 200),
            appearance=AppearanceReader.open(bundle, threads=threads),
            speaker=SpeakerReader.open(bundle, threads=threads),
        )
        networks._try(bundle.path)
        return networks

    def weigh(self, scene: Scene, speaks_for: str = MOST_PRESENT) -> Evidence:
        """Add what face and voice say; the answer speaks for one person.

        Args:
            scene: what the two networks made of a clip.
            speaks_for: one of `SPEAKS_FOR`, or the number of a person.

        Raises:
            MediaError: nobody of that number was seen.
        """
        which, why = _choose(scene, speaks_for)
        answerer = _Answerer(scene, self, which, is_crowd=True if speaks_for == EVERYONE else None)
        return Evidence(
            clip=scene.clip,
            duration_s=scene.duration_s,
            model=self.title,
            reads=(True, True),
            has_video=scene.has_video,
            has_sound=scene.has_sound,
            frame_count=scene.frame_count,
            heard_s=scene.voice.heard_s,
            is_silent=scene.voice.is_silent,
            people=[answerer.person(which) for which in range(len(scene.people))],
            person=scene.people[which].tracked.id if scene.people else None,
            whole=answerer.whole(),
            windows=[answerer.window(index) for index in range(count_windows(scene.duration_s))],
            abstain_below=self.fusion.abstain_below,
            warnings=scene.warnings,
            turns=() if scene.speech is None else list_turns(scene.speech.turns, scene.speech.voices.get(None)),
            speakers=scene.speakers,
            why=why,
            scope="crowd" if answerer.is_crowd else "person",
        )

    def _try(self, path: Path) -> None:
        """Run both networks once on next to nothing, so that a foreign one is refused before any clip is read."""
        side_px = self.tracking.side_px
        try:
            read_faces(self.face, np.zeros((1, 3, side_px, side_px), np.float32))
            read_voice(self.voice, np.zeros((80, 50), np.float32), np.full((1, 25), 1 / 25, np.float32))
            if self.sounds is not None:
                self.sounds.read(np.zeros((1, output_width(self.voice, "statistics")), np.float32))
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from None


_TOO_SMALL = "the faces are too small to tell who speaks by their lips"
_LEAST_FACE_PX = 20
"""Lips of faces lower than this in the analysed frame are not read."""


def _is_large(person: TrackedPerson, clip: Clip) -> bool:
    """Tell whether a person's lips can be read."""
    longest_px = max(clip.video.width_px, clip.video.height_px) if clip.video is not None else 1
    scale = min(1.0, ANALYSIS_LONG_SIDE_PX / max(longest_px, 1))
    return float(np.median(person.boxes_px[:, 3] - person.boxes_px[:, 1])) * scale >= _LEAST_FACE_PX


@dataclass(frozen=True, eq=False)
class _Gathered:
    """A scene, and how much its mouths move."""

    scene: Scene
    motion: MouthMotion

    @property
    def may_be_strange(self) -> bool:
        """Whether the voice may be somebody else's than the only person's: there are several, or the mouth rests."""
        people, windows = self.scene.people, self.scene.voice.windows
        if len(people) != 1:
            return True
        changes = self.motion.measure(people[0].tracked.track_ids, [(one.start_s, one.end_s) for one in windows])
        return changes is not None and changes < STILL


class LateReader:
    """Reads a clip once: listens to its voice, watches its faces, and adds both."""

    def __init__(self, bundle: Bundle, *, threads: int) -> None:
        """Open the networks of a late bundle.

        Args:
            bundle: the opened bundle.
            threads: processor threads that a network may use.

        Raises:
            BundleError: the bundle lacks a network or a number that predicting needs.
        """
        self._networks = LateNetworks.open(bundle, threads=threads)

    @property
    def calibration(self) -> Fusion:
        """How the answers of both networks are calibrated and added."""
        return self._networks.fusion

    def observe(
        self,
        clip: Clip,
        name: str,
        progress: Callable[[float], None] | None,
        speaks_for: str = MOST_PRESENT,
    ) -> Evidence:
        """Tell what an opened clip shows.

        Args:
            clip: the clip.
            name: the clip as the user named it.
            progress: called now and then with the share done, 0-1.
            speaks_for: one of `SPEAKS_FOR`, or the number of a person.

        Raises:
            MediaError: nothing in the clip can be decoded.
        """
        gathered = self._gather(clip, name, progress)
        return self._networks.weigh(self._tell_speakers(clip, gathered), speaks_for)

    def observe_stretch(self, clip: Clip, number: int, count: int) -> SceneStretch:
        """Tell what one stretch of an opened clip's picture shows, as part of what `join` joins.

        Args:
            clip: the whole clip.
            number: of the stretch, from 0.
            count: how many there are.

        Raises:
            MediaError: nothing in the stretch can be decoded.
        """
        return self._read(clip, *stretch_times(number, count), hears=False)

    def observe_sound(self, clip: Clip) -> SceneStretch:
        """Tell what of an opened clip is heard, as part of what `join` joins.

        Raises:
            MediaError: nothing of it can be decoded.
        """
        return self._read(clip, 0.0, math.inf, sees=False, hears=clip.sound is not None)

    def join(self, name: str, pictures: Sequence[SceneStretch], sound: SceneStretch) -> Evidence | None:
        """Tell what a clip shows that was read by its stretches, in order; `None` where it is to be read in one go."""
        if not fit_together(pictures, sound):
            return None
        scene = self._compose(name, join_stretches(pictures, sound))
        if self._networks.speaker is not None and len(scene.people) > 1 and scene.voice.windows:
            return None  # who speaks is told in a second pass
        return self._networks.weigh(scene)

    def read_logits(self, clip: Clip) -> ClipLogits:
        """Tell what the networks say of an opened clip before it is calibrated.

        Raises:
            MediaError: nothing in the clip can be decoded.
        """
        return _Answerer(self._gather(clip, clip.name, None).scene, self._networks).logits()

    def describe(self, clip: Clip) -> Description:
        """Tell what the networks say of an opened clip, and what that rests on.

        Raises:
            BundleError: a network does not give its features.
            MediaError: nothing in the clip can be decoded.
        """
        return _Answerer(self._gather(clip, clip.name, None, describes=True).scene, self._networks).describe()

    def _gather(
        self, clip: Clip, name: str, progress: Callable[[float], None] | None, *, describes: bool = False
    ) -> _Gathered:
        motion = MouthMotion()
        whole = self._read(clip, 0.0, math.inf, progress, describes=describes, motion=motion)
        return _Gathered(self._compose(name, whole), motion)

    def _read(
        self,
        clip: Clip,
        start_s: float,
        end_s: float,
        progress: Callable[[float], None] | None = None,
        *,
        sees: bool = True,
        hears: bool = True,
        describes: bool = False,
        motion: MouthMotion | None = None,
    ) -> SceneStretch:
        networks = self._networks
        tracker = FaceTracker(networks.detector, networks.tracking, appearance=networks.appearance)
        reader = ExpressionReader(networks.face, describes)
        listener = VoiceListener(networks.voice, networks.sounds, describes)
        seams = SeamReader(start_s, end_s)
        stream = clip.stream(
            longest_side_px=ANALYSIS_LONG_SIDE_PX,
            frames_rate_hz=ANALYSIS_RATE_HZ if sees else 0,
            sound_rate_hz=RATE_HZ if hears else 0,
            start_s=start_s,
            end_s=None if math.isinf(end_s) else end_s + SEAM_S,
        )
        with read_ahead(stream if sees or hears else iter(())) as items:
            reported = report_progress(items, clip.duration_s, progress)
            for face in tracker.track(_listen_in_passing(seams.watch(reported), listener)):
                reader.read(face)
                if motion is not None:
                    motion.watch(face)
        return SceneStretch(
            duration_s=round(clip.decoded_s, _DURATION_DIGITS),
            has_video=clip.has_picture,
            has_sound=clip.has_sound,
            frame_count=tracker.frame_count,
            detection_count=tracker.detection_count,
            tracks=tracker.tracks(),
            expressions=reader.finish(),
            shot=tracker.shot,
            thumbs=tracker.shots.edges,
            voice=listener.finish() if hears else NOT_HEARD,
            warnings=clip.warnings,
            damaged=clip.damaged,
            seams=seams.digests,
        )

    def _compose(self, name: str, whole: SceneStretch) -> Scene:
        reader = self._networks.appearance
        same_person = None if reader is None else reader.same_person
        people = group_people(whole.tracks, whole.frame_count, whole.detection_count, same_person=same_person)
        return Scene(
            clip=name,
            duration_s=whole.duration_s,
            has_video=whole.has_video,
            has_sound=whole.has_sound,
            frame_count=whole.frame_count,
            people=[
                WatchedPerson(one, join_expressions(whole.expressions[track] for track in one.track_ids))
                for one in people
            ],
            voice=whole.voice,
            warnings=whole.warnings,
        )

    def _tell_speakers(self, clip: Clip, gathered: _Gathered) -> Scene:
        """Tell whose the voice is, in a second pass over picture and sound, where that is a question."""
        scene, networks = gathered.scene, self._networks
        if networks.speaker is None or not scene.people or not scene.voice.windows or not gathered.may_be_strange:
            return scene
        if not any(_is_large(one.tracked, clip) for one in scene.people):
            return replace(scene, speakers="lips_not_seen", warnings=[*scene.warnings, _TOO_SMALL])
        try:
            turns, warning = read_turns(clip, networks.speaker, [one.tracked for one in scene.people], scene.voice)
        except MediaError:  # a stream that cannot go back
            return scene
        warnings = [*scene.warnings, *([warning] if warning else [])]
        if turns is None:
            return replace(scene, speakers="lips_disagree" if warning else "lips_not_seen", warnings=warnings)
        sounds = (one for one in clip.stream(longest_side_px=1, frames_rate_hz=0) if isinstance(one, Sound))
        voices = hear_apart(sounds, turns, lambda: VoiceListener(networks.voice, networks.sounds, describes=True))
        return replace(scene, speech=Speech(turns, voices), speakers="told", warnings=warnings)

    def start_live(self) -> LateLive:
        """Begin a live stream."""
        return LateLive(self._networks)


@dataclass(frozen=True)
class _SeenFace:
    """The largest face of one frame: its box and the face network's answer, shape (7,)."""

    box: Box
    logits: npt.NDArray[np.float32]


class LateLive:
    """The last frames of a live stream, as what the face network said of their largest faces."""

    def __init__(self, networks: LateNetworks) -> None:
        self._networks = networks
        self._frames_s: deque[float] = deque()
        self._faces: deque[_SeenFace] = deque()

    def watch(self, frame: Frame) -> None:
        """Look at the largest face of one frame."""
        self._frames_s.append(frame.time_s)
        side_px = self._networks.tracking.side_px
        for face in self._networks.detector.detect(frame.pixels)[:1]:
            crop = align_face(frame.pixels, face.landmarks_px, side_px, box_px=face.box_px)
            faces = np.ascontiguousarray(crop.transpose(2, 0, 1)[None], dtype=np.float32)
            left, top, right, bottom = (edge / frame.scale for edge in face.box_px)
            box = Box(frame.time_s, (left, top, right, bottom))
            self._faces.append(_SeenFace(box, read_faces(self._networks.face, faces)[0]))

    def read(self, start_s: float, end_s: float, sound: npt.NDArray[np.float32]) -> tuple[Evidence, Box | None]:
        """Tell what the frames since `start_s` and the sound show, and where the face stood last."""
        self._forget(start_s)
        listener = VoiceListener(self._networks.voice, self._networks.sounds)
        if len(sound):
            listener.listen(Sound(0.0, sound))
        scene = Scene(
            clip="live",
            duration_s=end_s - start_s,
            has_video=bool(self._frames_s),
            has_sound=len(sound) > 0,
            frame_count=len(self._frames_s),
            people=self._people(start_s),
            voice=listener.finish(),
            warnings=(),
        )
        return self._networks.weigh(scene), self._faces[-1].box if self._faces else None

    def _forget(self, before_s: float) -> None:
        while self._frames_s and self._frames_s[0] < before_s:
            self._frames_s.popleft()
        while self._faces and self._faces[0].box.time_s < before_s:
            self._faces.popleft()

    def _people(self, start_s: float) -> tuple[WatchedPerson, ...]:
        """Return whoever was nearest as one person, with times counted from the window's start."""
        if not self._faces:
            return ()
        times_s = np.array([face.box.time_s - start_s for face in self._faces])
        boxes_px = np.array([face.box.box_px for face in self._faces])
        share = len(self._faces) / max(len(self._frames_s), 1)
        tracked = TrackedPerson(1, (1,), share, times_s, boxes_px, score=1.0)
        return (WatchedPerson(tracked, Expressions(times_s, np.stack([face.logits for face in self._faces]))),)


@dataclass(frozen=True)
class _Spoken:
    """The voice over some stretch: calibrated log-probabilities, shape (7,), and the background ratio in dB."""

    log_probabilities: FloatArray
    snr_db: float


def _choose(scene: Scene, speaks_for: str) -> tuple[int, str]:
    """Return the place of the person whom the answer speaks for, and why.

    Raises:
        MediaError: nobody of that number was seen.
    """
    numbers = [one.tracked.id for one in scene.people]
    asked = read_number(speaks_for)
    if asked is not None:
        if asked not in numbers:
            seen = ", ".join(map(str, sorted(numbers))) or "nobody"
            raise MediaError(f"{scene.clip}: person {asked} was asked for, but seen were: {seen}; name one of these")
        return numbers.index(asked), "asked"
    if speaks_for == MOST_SPEAKING and scene.speech is not None and numbers:
        turns = scene.speech.turns
        longest_s = [turns.speaking_s(number) for number in numbers]
        if max(longest_s) > 0:
            return int(np.argmax(longest_s)), MOST_SPEAKING
    return 0, MOST_PRESENT


class _Answerer:
    """Answers stretches of one scene for the person at one place.

    Attributes:
        is_crowd: whether nobody carries the clip.
    """

    def __init__(self, scene: Scene, networks: LateNetworks, which: int = 0, *, is_crowd: bool | None = None) -> None:
        self._scene = scene
        self._which = which
        self._fusion = networks.fusion
        self._least_snr_db = networks.no_speech_below_db
        self._faces = [self._fusion.face_log_probabilities(one.expressions.logits) for one in scene.people]
        self._windows = {round(window.start_s, 3): window for window in self._spoken(scene.voice.windows)}
        self._sounds = {round(one.start_s, 3): one.sounds for one in scene.voice.sounds}
        shares = [one.tracked.share_on_screen for one in scene.people]
        # How likely the voice is the person's where nothing else tells: the person's part of all faces' time on screen.
        self._speaker_share = shares[which] / sum(shares) if shares else 1.0
        tracked = [one.tracked for one in scene.people]
        crowd = find_scope(tracked, tracked[which].id if tracked else None) == "crowd"
        self.is_crowd = crowd if is_crowd is None else is_crowd and len(tracked) > 1
        voices = scene.speech.voices if scene.speech else {}
        self._own = {
            number: {round(window.start_s, 3): window for window in self._spoken(voice.windows)}
            for number, voice in voices.items()
        }

    def whole(self) -> Answer:
        """Answer the clip: by the person's own voice where it is told apart; another's counts nothing."""
        heard = self._spoken(self._scene.voice.utterances)
        if not self._faces:
            return self._fuse(None, self._pool_voice(heard), 1.0)
        tracked = self._scene.people[self._which].tracked
        face = pool_log_probabilities(self._faces[self._which])
        answer = self._answer_whole(face, tracked.id, heard)
        return replace(answer, person=tracked.id)

    def _answer_whole(self, face: FloatArray, number: int, heard: Sequence[VoiceWindow]) -> Answer:
        speech = self._scene.speech
        share = speech.turns.share(0.0, np.inf) if speech else None
        if speech is None or share is None or not share.is_sure:
            return self._fuse(face, self._pool_voice(heard), self._speaker_share)
        own = self._own_utterances(number)
        if own:
            return self._fuse(face, self._pool_voice(own), 1.0)
        return _beside(self._fuse(face, None, 1.0), self._fuse(None, self._pool_voice(heard), 1.0))

    def _own_utterances(self, number: int | None) -> list[VoiceWindow]:
        voice = self._scene.speech.voices.get(number) if self._scene.speech else None
        return self._spoken(voice.utterances) if voice else []

    def logits(self) -> ClipLogits:
        """Pool what `whole` pools before it is calibrated: the order of the two makes no difference."""
        spoken = self._spoken(self._scene.voice.utterances)
        weights = [window.weight for window in spoken]
        people = self._scene.people
        return ClipLogits(
            face=people[self._which].expressions.logits.mean(axis=0, dtype=np.float64) if people else None,
            voice=np.average([window.logits for window in spoken], axis=0, weights=weights) if spoken else None,
            snr_db=float(np.average([window.snr_db for window in spoken], weights=weights)) if spoken else None,
            speaker_share=self._speaker_share,
        )

    def describe(self) -> Description:
        """Pool what `logits` pools, and the features in the same way."""
        spoken, people = self._spoken(self._scene.voice.utterances), self._scene.people
        weights = [window.weight for window in spoken]
        return Description(
            logits=self.logits(),
            face=people[0].expressions.features.mean(axis=0, dtype=np.float64) if people else None,
            voice=np.average([window.statistics for window in spoken], axis=0, weights=weights) if spoken else None,
            seen=_spread(people[0].expressions.crops) if people else None,
            heard=tuple((window.heard, window.weight) for window in spoken if window.heard is not None),
        )

    def window(self, index: int) -> Answer:
        """Answer a window: for the one spoken for, in a crowd for who speaks in it, or is seen most."""
        start_s, end_s = window_times(index, self._scene.duration_s)
        said = self._scene.speech.turns.share(start_s, end_s) if self._scene.speech else None
        voice_of = said.voice_of if said else None
        which, share = self._whose(start_s, end_s, voice_of)
        face = self._pool_face(which, start_s, end_s) if self._faces else None
        answer = self._answer_window(start_s, face, which, share, voice_of)
        answer = replace(answer, sounds=self._sounds.get(round(start_s, 3)))
        if said is not None:
            answer = replace(answer, voice_of=voice_of, overlap=said.together)
        return answer if face is None else replace(answer, person=self._scene.people[which].tracked.id)

    def _answer_window(
        self, start_s: float, face: FloatArray | None, which: int, share: float, voice_of: int | str | None
    ) -> Answer:
        heard = self._windows.get(round(start_s, 3))
        whole = self._pool_voice([] if heard is None else [heard])
        if voice_of is None or face is None:
            return self._fuse(face, whole, share)
        if voice_of != self._scene.people[which].tracked.id:
            return _beside(self._fuse(face, None, 1.0), self._fuse(None, whole, 1.0))
        own = self._own.get(self._scene.people[which].tracked.id, {}).get(round(start_s, 3))
        return self._fuse(face, whole if own is None else self._pool_voice([own]), 1.0)

    def _whose(self, start_s: float, end_s: float, voice_of: int | str | None) -> tuple[int, float]:
        """Return who is spoken for between two instants, and how likely the voice is theirs where nothing tells."""
        if not self.is_crowd:
            return self._which, self._speaker_share
        which, share = self._most_seen(start_s, end_s)
        numbers = [one.tracked.id for one in self._scene.people]
        return (numbers.index(voice_of), share) if isinstance(voice_of, int) else (which, share)

    def _most_seen(self, start_s: float, end_s: float) -> tuple[int, float]:
        """Return who is seen longest and largest between two instants, and the part of all face time there."""
        spans = [_span(one.tracked.times_s, start_s, end_s) for one in self._scene.people]
        boxes_px = [one.tracked.boxes_px[span] for one, span in zip(self._scene.people, spans, strict=True)]
        which = int(np.argmax([(boxes[:, 3] - boxes[:, 1]).sum() for boxes in boxes_px]))
        return which, len(boxes_px[which]) / max(sum(map(len, boxes_px)), 1) or 1.0

    def person(self, which: int) -> SeenPerson:
        tracked, duration_s = self._scene.people[which].tracked, self._scene.duration_s
        pooled = {
            index: self._pool_face(which, *window_times(index, duration_s))
            for index in windows_between(tracked.times_s[0], tracked.times_s[-1], duration_s)
        }
        faces = {index: face for index, face in pooled.items() if face is not None}
        whole = pool_log_probabilities(self._faces[which])
        seen = SeenPerson(tracked, np.exp(whole), {index: np.exp(face) for index, face in faces.items()})
        speech = self._scene.speech
        if speech is None:
            return seen
        utterances = self._own_utterances(tracked.id)
        return replace(
            seen,
            own={index: self._own_window(index, face, tracked.id, speech.turns) for index, face in faces.items()},
            whole=self._fuse(whole, self._pool_voice(utterances), 1.0) if utterances else None,
            speaking_s=speech.turns.speaking_s(tracked.id),
        )

    def _own_window(self, index: int, face: FloatArray, number: int, turns: Turns) -> Own:
        """Tell what a person's own voice says of a window."""
        start_s, end_s = window_times(index, self._scene.duration_s)
        window = self._own.get(number, {}).get(round(start_s, 3))
        speaking = turns.share(start_s, end_s).people[number]
        return Own(speaking, None if window is None else self._fuse(face, self._pool_voice([window]), 1.0))

    def _spoken(self, windows: Sequence[VoiceWindow]) -> list[VoiceWindow]:
        return [window for window in windows if window.snr_db >= self._least_snr_db]

    def _pool_voice(self, windows: Sequence[VoiceWindow]) -> _Spoken | None:
        if not windows:
            return None
        weights = [window.weight for window in windows]
        frames = self._fusion.voice_log_probabilities(np.stack([window.logits for window in windows]))
        snr_db = float(np.average([window.snr_db for window in windows], weights=weights))
        return _Spoken(pool_log_probabilities(frames, weights), snr_db)

    def _pool_face(self, which: int, start_s: float, end_s: float) -> FloatArray | None:
        faces = self._faces[which][_span(self._scene.people[which].expressions.times_s, start_s, end_s)]
        return pool_log_probabilities(faces) if len(faces) else None

    def _fuse(self, face: FloatArray | None, spoken: _Spoken | None, speaker_share: float) -> Answer:
        voice, snr_db = (spoken.log_probabilities, spoken.snr_db) if spoken else (None, None)
        return Answer(
            face=None if face is None else np.exp(face),
            voice=None if voice is None else np.exp(voice),
            fused=self._fusion.fuse(face, voice, snr_db, speaker_share),
            weights=self._fusion.weights(snr_db, has_face=face is not None, speaker_share=speaker_share),
        )


def _beside(face: Answer, voice: Answer) -> Answer:
    """Answer by the face alone, and name what somebody else's voice says beside it."""
    return replace(face, voice=voice.voice)


def _spread(crops: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Pick crops evenly, at most as many as are kept of a track."""
    picked = np.linspace(0, len(crops) - 1, min(len(crops), MOST_CROPS)).round().astype(int)
    return np.stack([crops[index] for index in picked])


def _span(times_s: npt.NDArray[np.floating], start_s: float, end_s: float) -> slice:
    """Return which of rising times lie from one instant up to another; all later ones where the two are one."""
    first, last = np.searchsorted(times_s, [start_s, end_s if end_s > start_s else np.inf])
    return slice(int(first), int(last))


def _listen_in_passing(items: Iterable[Frame | Sound], listener: VoiceListener) -> Iterator[Frame]:
    """Hand the sound of a stream to the listener and yield its frames, so that the clip is decoded once."""
    for item in items:
        if isinstance(item, Frame):
            yield item
        else:
            listener.listen(item)
