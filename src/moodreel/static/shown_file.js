// A file of the library, playing at a moment, with its timeline below.

import { addressOf } from "./api.js";
import { likeliest } from "./emotions.js";
import { make } from "./dom.js";
import { segmentAt } from "./player.js";
import { Timeline } from "./timeline.js";
import { describeWindow, moment as clockOf } from "./words.js";

const UNPLAYABLE = "Your browser cannot play this kind of file. What was read in it stands here all the same.";

/** Shows one file. `parts` are elements: `figure`, `timeline`, `overTime`, `readout`. */
export class ShownFile {
  constructor(parts) {
    this.parts = parts;
    this.timeline = new Timeline(parts.timeline, { onSeek: (time) => this.seek(time) });
  }

  /** Play a moment; what was read in its file follows with `showTimeline`. */
  play(moment) {
    this.close();
    const { file, start_s: start, end_s: end } = moment;
    this.offset = file.offset_s;
    this.until = end;
    this.parts.figure.classList.toggle("sound", !file.has_picture);
    this.parts.overTime.hidden = true;
    if (file.duration_s === 0) this.showPicture(file);
    else this.showMedia(file, start);
  }

  /** Show what was seen and heard, and which moments were found. */
  showTimeline(told, found) {
    this.prediction = toPrediction(told, found);
    this.parts.overTime.hidden = !this.prediction.duration_s || !this.prediction.segments.length;
    if (this.parts.overTime.hidden) return;
    this.timeline.show(this.prediction);
    this.tell(this.media ? this.media.currentTime - this.offset : 0);
  }

  /** Go to a time in seconds of what was indexed. */
  seek(time) {
    this.until = Infinity;
    if (this.media?.readyState > 0) this.media.currentTime = time + this.offset;
    this.tell(time);
  }

  /** Forget the file. */
  close() {
    cancelAnimationFrame(this.tick);
    if (this.media) {
      this.media.pause();
      this.media.removeAttribute("src"); // else the browser goes on loading
      this.media.load();
    }
    this.media = this.prediction = undefined;
    this.parts.figure.replaceChildren();
  }

  showPicture(file) {
    const image = make("img", { src: addressOf(file.media), alt: `The picture ${file.name}` });
    image.addEventListener("error", () => this.giveUp());
    this.parts.figure.append(image);
  }

  showMedia(file, start) {
    const media = make("video", { src: addressOf(file.media), controls: true, playsInline: true, preload: "auto" });
    media.setAttribute("aria-label", file.name);
    media.addEventListener("loadedmetadata", () => { media.currentTime = start + this.offset; }, { once: true });
    media.addEventListener("seeked", () => this.tell(media.currentTime - this.offset));
    media.addEventListener("play", () => this.follow());
    media.addEventListener("error", () => media === this.media && this.giveUp());
    this.media = media;
    this.parts.figure.append(media);
    media.play().catch(() => {}); // a browser may ask for a click first
  }

  giveUp() {
    this.media = undefined;
    this.parts.figure.replaceChildren(make("p", { textContent: UNPLAYABLE }));
  }

  follow() {
    const { media } = this;
    if (!media) return;
    const time = media.currentTime - this.offset;
    if (time >= this.until) {
      this.until = Infinity; // once the moment is over; whoever goes on sees the rest
      media.pause();
    }
    this.tell(time);
    if (!media.paused) this.tick = requestAnimationFrame(() => this.follow());
  }

  tell(time) {
    if (!this.prediction?.segments.length) return;
    this.timeline.move(time);
    this.parts.readout.textContent = `At ${clockOf(Math.max(0, time))}: ${describeWindow(segmentAt(this.prediction.segments, time))}`;
  }
}

/** What a library tells of a file, in the shape of a prediction, which the timeline shows. */
function toPrediction({ duration_s: duration, segments, people }, found) {
  const read = segments.map((segment) => ({
    ...segment,
    states: { face: segment.face ? "ok" : "no_face", voice: segment.voice ? "ok" : "no_speech" },
    sounds: segment.sound && !segment.voice ? { [segment.sound]: 1 } : null,
  }));
  return {
    duration_s: duration,
    person: 1,
    segments: read,
    timeline: read,
    stretches: { face: join(read.map((one) => alone(one, "face"))), voice: join(read.map((one) => alone(one, "voice"))) },
    people: people.map(({ id, segments: own }) => ({ id, share_on_screen: share(own, duration), stretches: join(own) })),
    found: join(found.map((one) => ({ ...one, abstained: false }))),
  };
}

const share = (segments, duration) => Math.min(1, segments.reduce((sum, { start_s, end_s }) => sum + end_s - start_s, 0) / duration);

const alone = (segment, name) =>
  ({ ...segment, label: segment[name] && likeliest(segment[name]), probabilities: segment[name], abstained: false });

/** Neighbours of one label as one stretch, with the mean of its probability. */
function join(segments) {
  const stretches = [];
  for (const { start_s, end_s, label, probabilities, abstained } of segments.filter((one) => one.label)) {
    const last = stretches.at(-1);
    const length = end_s - start_s;
    if (last && last.label === label && last.abstained === abstained && start_s <= last.end_s + 1e-3) {
      last.end_s = end_s;
      last.sum += probabilities[label] * length;
    } else stretches.push({ start_s, end_s, label, abstained, sum: probabilities[label] * length });
  }
  return stretches.map(({ sum, ...one }) => ({ ...one, probability: sum / (one.end_s - one.start_s || 1) }));
}
