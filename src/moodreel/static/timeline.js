// The timeline: a stacked area of the seven emotions, dots at the windows, rows for face, voice and each person, and a
// slider over all of them that goes with playback.

import { COLOURS, EMOTIONS, inkOn, likeliest } from "./emotions.js";
import { draw, make } from "./dom.js";
import { windowAt } from "./player.js";
import { clock, describeWindow, percent } from "./words.js";

/** Shows one answer over time. `onSeek` is called with the seconds that a person goes to. */
export class Timeline {
  constructor(root, { onSeek }) {
    this.root = root;
    this.onSeek = onSeek;
  }

  /** Show the timeline of an answer. */
  show(prediction) {
    this.prediction = prediction;
    this.windows = prediction.timeline;
    this.end = Math.max(prediction.duration_s, this.windows.at(-1).end_s, 1e-3);
    this.slider = this.makeSlider();
    this.root.replaceChildren(
      row(key(), this.area()),
      row("", this.axis()),
      row("face", this.lane(labelled(this.windows, "face"), "no face")),
      row("voice", this.lane(labelled(this.windows, "voice"), "no speech")),
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
    const said = describeWindow(windowAt(this.windows, this.time));
    this.slider.setAttribute("aria-valuetext", `${clock(this.time)} of ${clock(this.end)}: ${said}`);
  }

  place(time) {
    return `${(time / this.end) * 100}%`;
  }

  area() {
    const svg = draw("svg", { viewBox: "0 0 1000 1000", preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const { emotion, outline } of bands(this.windows, this.end)) {
      const points = outline.map(({ time, share }) => `${((time / this.end) * 1000).toFixed(1)},${(1000 - share * 1000).toFixed(1)}`);
      svg.append(draw("path", { d: `M${points.join("L")}Z`, fill: COLOURS[emotion] }));
    }
    return make("div", { className: "lane area" }, svg);
  }

  axis() {
    const dots = this.windows.map((window) => this.mark("dot", (window.start_s + window.end_s) / 2));
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

  lane(windows, nothing) {
    return make("div", { className: "lane" }, ...joinStretches(windows, this.end).map((stretch) => {
      const { start, end, label } = stretch;
      const box = make("div", { className: label ? "stretch" : "stretch none", textContent: label ?? nothing });
      box.title = `${label ?? nothing}, ${clock(start)} to ${clock(end)}`;
      box.style.left = this.place(start);
      box.style.width = this.place(end - start);
      if (label) Object.assign(box.style, { background: COLOURS[label], color: inkOn(label) });
      return box;
    }));
  }

  personRow(person) {
    const share = make("span", { className: "share", textContent: `, on screen ${percent(person.share_on_screen)}` });
    const name = make("span", {}, `person ${person.id}`, share);
    const thumbnail = make("span", { className: "thumbnail" });
    const made = row(make("span", {}, name, thumbnail), this.lane(filled(person.windows, this.windows), "not seen"));
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

  /** Arrows go from window to window, Page keys ten of them, Home and End to the ends. */
  step(event) {
    const hop = this.windows.length > 1 ? this.windows[1].start_s - this.windows[0].start_s : this.end;
    const ways = { ArrowLeft: -hop, ArrowDown: -hop, ArrowRight: hop, ArrowUp: hop, PageDown: -10 * hop, PageUp: 10 * hop,
      Home: -this.end, End: this.end };
    if (!(event.key in ways)) return;
    event.preventDefault();
    this.onSeek(Math.min(Math.max(this.time + ways[event.key], 0), this.end));
  }
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
 * The area as outlines, one per emotion in each stretch of windows in which somebody was seen or heard; points of `time` in
 * seconds and `share`. Elsewhere the area stays empty: the seven equal shares of such a window are nothing that was shown.
 */
export function bands(windows, end) {
  return curves(windows, end).flatMap((points) => {
    let below = points.map(({ time }) => ({ time, share: 0 }));
    return EMOTIONS.map((emotion) => {
      const above = points.map(({ time, probabilities }, index) => ({ time, share: below[index].share + probabilities[emotion] }));
      const outline = [...above, ...below.toReversed()];
      below = above;
      return { emotion, outline };
    });
  });
}

/** The middles of windows with a label, stretch by stretch, held flat to halfway to the next window or to the clip's end. */
function curves(windows, end) {
  const middles = windows.map((window) => (window.start_s + window.end_s) / 2);
  const edges = [0, ...middles.slice(1).map((middle, index) => (middle + middles[index]) / 2), end];
  const found = [];
  windows.forEach(({ label, probabilities }, index) => {
    if (!label) return;
    if (!windows[index - 1]?.label) found.push([{ time: edges[index], probabilities }]);
    found.at(-1).push({ time: middles[index], probabilities });
    if (!windows[index + 1]?.label) found.at(-1).push({ time: edges[index + 1], probabilities });
  });
  return found;
}

/** The windows with the likeliest emotion of one modality as their label. */
const labelled = (windows, name) =>
  windows.map((window) => ({ ...window, label: window[name] ? likeliest(window[name]) : null }));

/** A person's windows on the whole clip's grid; those without the person have no label. */
function filled(own, all) {
  const byStart = new Map(own.map((window) => [window.start_s, window.label]));
  return all.map((window) => ({ ...window, label: byStart.get(window.start_s) ?? null }));
}

/** Neighbouring windows of equal label as one stretch; windows overlap, so each reaches to the next one's start. */
export function joinStretches(windows, end) {
  const stretches = [];
  windows.forEach(({ start_s: start, label }, index) => {
    const until = windows[index + 1]?.start_s ?? end;
    const last = stretches.at(-1);
    if (last && last.label === label) last.end = until;
    else stretches.push({ start, end: until, label });
  });
  return stretches;
}
