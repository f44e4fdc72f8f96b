// What an answer says, in words.

import { likeliest } from "./emotions.js";

const FACE_STATES = {
  no_video_track: "The clip has no picture.",
  no_face: "No face was seen.",
  undecodable: "The picture could not be read.",
  unused: "This model does not look at faces.",
};
const VOICE_STATES = {
  no_audio_track: "The clip has no sound.",
  silent: "The sound is silent.",
  no_speech: "No speech was heard.",
  undecodable: "The sound could not be read.",
  unused: "This model does not listen to voices.",
};

/** Seconds as a clock shows them: 0:03, 12:40, 1:02:03. */
export function clock(seconds) {
  const whole = Math.floor(Math.max(0, seconds) + 0.05);
  const parts = [Math.floor(whole / 60) % 60, String(whole % 60).padStart(2, "0")];
  const hours = Math.floor(whole / 3600);
  return hours ? [hours, String(parts[0]).padStart(2, "0"), parts[1]].join(":") : parts.join(":");
}

/** The same to a tenth: 0:03.5. */
export function moment(seconds) {
  const tenths = Math.floor(seconds * 10 + 1e-6);
  return `${clock(Math.floor(tenths / 10))}.${tenths % 10}`;
}

/** A share as whole percent. */
export const percent = (share) => `${Math.round(share * 100)}%`;

/** The answer in one line: of the one person who carries the clip, or of a crowd. */
export function headline(prediction) {
  if (prediction.scope === "crowd") return `${prediction.people.length} people: ${summary(prediction)}`;
  if (!prediction.label) return "Nothing to tell an emotion from";
  const share = percent(prediction.probabilities[prediction.label]);
  if (prediction.abstained) return `Not sure; the likeliest is ${prediction.label}, ${share}`;
  return `${prediction.leaning ? "leans to " : ""}${prediction.label}, ${share}`;
}

/** Which emotions are shown for how much of the time; of a picture, by how many. */
function summary({ shares, people, duration_s: duration }) {
  if (!duration) {
    const count = (label) => people.filter((person) => person.label === label).length;
    return [...new Set(people.map(({ label }) => label))].map((label) => `${count(label)} ${label}`).join(", ");
  }
  const shown = Object.entries(shares).filter(([, share]) => share >= 0.005).sort((a, b) => b[1] - a[1]).slice(0, 3);
  return shown.map(([name, share]) => `${name} ${percent(share)} of the time`).join(", ") || "nothing to rely on";
}

/** What a segment speaks for: "person 2: face and voice". */
export function source({ people, person }, segment) {
  if (!segment?.label) return "";
  const name = segment.person && people.length > 1 ? `person ${segment.person}: ` : "";
  if (segment.face) {
    const strange = segment.voice && segment.voice_of && segment.voice_of !== segment.person;
    if (strange) return ` (${name}face; ${segment.voice_of === "off_screen" ? "a voice off screen" : `person ${segment.voice_of} speaks`})`;
    return ` (${name}${segment.voice ? "face and voice" : "face"})`;
  }
  return segment.states.face === "not_seen" ? ` (voice; person ${person} not seen)` : " (voice)";
}

/** One window in one line. */
export function describeWindow(window) {
  if (!window?.label) return "nobody seen or heard";
  const unsure = window.abstained ? "unsure, likeliest " : "";
  const ranked = Object.entries(window.probabilities).sort((a, b) => b[1] - a[1]);
  return unsure + ranked.slice(0, 2).map(([name, share]) => `${name} ${percent(share)}`).join(", ");
}

/** What face and voice said, where they are missing, and what to beware of; each `{text, isWarning}`. */
export function notes(prediction) {
  const { face, voice } = prediction.modalities;
  const isCrowd = prediction.scope === "crowd"; // there the clip's own face and voice speak for no one's answer
  const said = [
    ...(isCrowd && face.state === "ok" ? [] : [modality("Face", face, FACE_STATES)]),
    ...(face.state === "ok" ? gaps(prediction.segments, "face", "no_face").map((gap) => `No face ${gap}.`) : []),
    ...gaps(prediction.segments, "face", "not_seen").map((gap) => `Person ${prediction.person} not seen ${gap}.`),
    ...(isCrowd && voice.state === "ok" ? [] : [modality("Voice", voice, VOICE_STATES)]),
    ...(voice.state === "ok" ? gaps(prediction.segments, "voice", "no_speech").map((gap) => `No speech ${gap}.`) : []),
    ...otherSounds(prediction.segments).map((name) => sentence(`${name} was heard where nobody speaks`)),
  ].map((text) => ({ text, isWarning: false }));
  return [...said, ...prediction.warnings.map((text) => ({ text: sentence(text), isWarning: true }))];
}

function modality(name, { state, probabilities, weight }, states) {
  if (state !== "ok") return states[state] ?? `${name}: ${state}.`;
  if (!probabilities) return `${name}: was used.`;
  const label = likeliest(probabilities);
  return `${name}: ${label} ${percent(probabilities[label])}; counts for ${percent(weight)} of the answer.`;
}

/** What sounds in a segment where nobody is heard to speak: "laughter"; `null` where nothing is known to. */
export function otherSound({ voice, sounds }) {
  if (voice || !sounds) return null;
  const [name] = Object.keys(sounds).sort((one, other) => sounds[other] - sounds[one]);
  return name === "speech" ? null : name;
}

const otherSounds = (segments) => [...new Set(segments.map(otherSound).filter(Boolean))];

/** Where neighbouring segments hold no answer of a modality for one reason: "from 0:03 to 0:07". */
export function gaps(segments, name, state) {
  if (segments.every((segment) => !segment[name])) return []; // a model that answers for both at once
  const found = [];
  for (const segment of segments.filter((one) => one.states[name] === state)) {
    const last = found.at(-1);
    if (last && segment.start_s <= last[1]) last[1] = segment.end_s;
    else found.push([segment.start_s, segment.end_s]);
  }
  return found.map(([start, end]) => `from ${clock(start)} to ${clock(end)}`);
}

function sentence(text) {
  const start = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
}
