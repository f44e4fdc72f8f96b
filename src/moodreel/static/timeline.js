// The timeline: a stacked area of the seven emotions, dots at the segments, rows for face, voice and each person, and a
// slider over all of them that goes with playback.

import { COLOURS, EMOTIONS, inkOn } from "./emotions.js";
import { draw, make } from "./dom.js";
import { segmentAt } from "./player.js";
import { clock, describeWindow, otherSound, percent } from "./words.js";

/** Shows one answer over time. `onSeek` is called with the seconds that a person goes to. */
export class Timeline {
  constructor(root, { onSeek }) {
    this.root = root;
    this.onSeek = onSeek;
  }

  /** Show the timeline of an answer. */
  show(prediction) {
    this.prediction = prediction;
    this.segments = prediction.segments;
    this.end = Math.max(prediction.duration_s, this.segments.at(-1).end_s, 1e-3);
    this.slider = this.makeSlider();
    this.root.replaceChildren(
      row(key(), this.area()),
      row("", this.axis()),
      ...(prediction.found ? [row("found", this.lane(prediction.found))] : []),
      row("face", this.lane(prediction.stretches.face, this.segments.filter(({ face }) => !face).map(unseen(prediction)))),
      row("voice", this.lane(prediction.stretches.voice,
        this.segments.filter(({ voice }) => !voice).map((one) => ({ ...one, label: null, text: otherSound(one) ?? "no speech" })))),
      ...prediction.people.map((person) => this.personRow(person)),
      this.slider,
    );
    this.move(0);
  }

  /** Put a person's face beside the person's row. */
  setThumbnail(id, canvas) {
    this.root.querySelector(`[data-person="${id}"] .thumbnail`)?.replaceWith(canvas);
  }

  /** Move the line to a time in seconds. */
  move(time) {
    this.time = Math.min(Math.max(time, 0), this.end);
    this.slider.firstChild.style.left = this.place(this.time);
    this.slider.setAttribute("aria-valuenow", this.time.toFixed(1));
    const said = describeWindow(segmentAt(this.segments, this.time));
    this.slider.setAttribute("aria-valuetext", `${clock(this.time)} of ${clock(this.end)}: ${said}`);
  }

  place(time) {
    return `${(time / this.end) * 100}%`;
  }

  area() {
    const svg = draw("svg", { viewBox: "0 0 1000 1000", preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const { emotion, outline } of bands(this.segments, this.end)) {
      const points = outline.map(({ time, share }) => `${((time / this.end) * 1000).toFixed(1)},${(1000 - share * 1000).toFixed(1)}`);
      svg.append(draw("path", { d: `M${points.join("L")}Z`, fill: COLOURS[emotion] }));
    }
    return make("div", { className: "lane area" }, svg);
  }

  axis() {
    const dots = this.segments.map((segment) => this.mark("dot", (segment.start_s + segment.end_s) / 2));
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
      const tick = this.mark(share === 1 ? "tick last" : "tick", share * this.end);
      tick.textContent = this.end < 8 ? `${(share * this.end).toFixed(1)} s` : clock(share * this.end);
      return tick;
    });
    return make("div", { className: "lane axis" }, ...ticks, ...dots);
  }

  mark(className, time) {
    const mark = make("span", { className });
    mark.style.left = this.place(time);
    return mark;
  }

  /** A row of stretches, and of what is said where there is none; the ends of a picture are its whole. */
  lane(stretches, gaps = []) {
    return make("div", { className: "lane" }, ...[...stretches, ...joined(gaps)].map((stretch) => {
      const { start_s: start, end_s, label, text, abstained, probability } = stretch;
      const end = end_s > start ? end_s : this.end;
      const said = text ?? (abstained ? `${label}?` : label);
      const kind = label ? (abstained ? "stretch unsure" : "stretch") : "stretch none";
      const box = make("div", { className: kind, textContent: said });
      box.title = `${said}${probability ? ` ${percent(probability)}` : ""}, ${clock(start)} to ${clock(end)}`;
      box.style.left = this.place(start);
      box.style.width = this.place(end - start);
      if (label) Object.assign(box.style, { background: COLOURS[label], color: inkOn(label) });
      return box;
    }));
  }

  personRow(person) {
    const share = make("span", { className: "share", textContent: presence(person) });
    const name = make("span", {}, `person ${person.id}`, share);
    const thumbnail = make("span", { className: "thumbnail" });
    const made = row(make("span", {}, name, thumbnail), this.lane(person.stretches));
    made.firstChild.className = "name";
    made.firstChild.replaceChildren(name, thumbnail);
    made.classList.add("person");
    made.dataset.person = person.id;
    return made;
  }

  makeSlider() {
    const slider = make("div", { className: "slider", tabIndex: 0 }, make("div", { className: "playhead" }));
    const attributes = { role: "slider", "aria-label": "Time in the clip", "aria-valuemin": 0, "aria-valuemax": this.end.toFixed(1) };
    for (const [name, value] of Object.entries(attributes)) slider.setAttribute(name, value);
    const go = (event) => {
      const { left, width } = slider.getBoundingClientRect();
      this.onSeek(Math.min(Math.max((event.clientX - left) / width, 0), 1) * this.end);
    };
    slider.addEventListener("pointerdown", (event) => { slider.setPointerCapture(event.pointerId); go(event); });
    slider.addEventListener("pointermove", (event) => { if (event.buttons) go(event); });
    slider.addEventListener("keydown", (event) => this.step(event));
    return slider;
  }

  /** Arrows go from segment to segment, Page keys ten of them, Home and End to the ends. */
  step(event) {
    const [first, second] = this.prediction.timeline;
    const hop = second ? second.start_s - first.start_s : this.end;
    const ways = { ArrowLeft: -hop, ArrowDown: -hop, ArrowRight: hop, ArrowUp: hop, PageDown: -10 * hop, PageUp: 10 * hop,
      Home: -this.end, End: this.end };
    if (!(event.key in ways)) return;
    event.preventDefault();
    this.onSeek(Math.min(Math.max(this.time + ways[event.key], 0), this.end));
  }
}

/** How much of the time a person is on screen, and for how long the person speaks. */
function presence({ share_on_screen: share, speaking_s: speaking }) {
  return `, on screen ${percent(share)}${speaking ? `, speaks ${speaking.toFixed(1)} s` : ""}`;
}

function row(name, lane) {
  return make("div", { className: "row" }, make("div", { className: "name" }, name), lane);
}

/** What the colours of the area mean, in the order in which they lie. */
function key() {
  const names = EMOTIONS.toReversed().map((emotion) => {
    const swatch = make("i", { className: "swatch" });
    swatch.style.background = COLOURS[emotion];
    return make("span", {}, emotion, swatch);
  });
  return make("div", { className: "key" }, ...names);
}

/**
 * The area as outlines, one per emotion in each run of segments in which somebody was seen or heard; points of `time` in
 * seconds and `share`. Elsewhere the area stays empty: the seven equal shares of such a segment are nothing that was shown.
 */
export function bands(segments, end) {
  return curves(segments, end).flatMap((points) => {
    let below = points.map(({ time }) => ({ time, share: 0 }));
    return EMOTIONS.map((emotion) => {
      const above = points.map(({ time, probabilities }, index) => ({ time, share: below[index].share + probabilities[emotion] }));
      const outline = [...above, ...below.toReversed()];
      below = above;
      return { emotion, outline };
    });
  });
}

/** The middles of segments with a label, run by run, held flat to the ends of each run. */
function curves(segments, end) {
  const found = [];
  segments.forEach(({ label, probabilities, start_s: start, end_s: until }, index) => {
    if (!label) return;
    if (!segments[index - 1]?.label) found.push([{ time: start, probabilities }]);
    found.at(-1).push({ time: (start + until) / 2, probabilities });
    if (!segments[index + 1]?.label) found.at(-1).push({ time: index === segments.length - 1 ? end : until, probabilities });
  });
  return found;
}

/** What the face's row says where the person spoken for is absent. */
const unseen = ({ person }) => (segment) =>
  ({ ...segment, label: null, text: segment.states.face === "not_seen" ? `person ${person} not seen` : "no face" });

/** Neighbouring gaps of one reason as one. */
function joined(gaps) {
  const found = [];
  for (const { start_s, end_s, text } of gaps) {
    const last = found.at(-1);
    if (last && last.text === text && start_s <= last.end_s + 1e-3) last.end_s = end_s;
    else found.push({ start_s, end_s, text, label: null });
  }
  return found;
}
