// The whole library over time: a bar for each day, month or year, of the emotions that its files show.

import { COLOURS, EMOTIONS } from "./emotions.js";
import { make } from "./dom.js";
import { percent } from "./words.js";

const LEAST_PERCENT = 6; // of the height, so that a single short file is seen

/** Shows the strip. `onChoose` is called with a date, or with none when the chosen one is chosen again. */
export class Strip {
  constructor(root, axis, { onChoose }) {
    this.root = root;
    this.axis = axis;
    this.onChoose = onChoose;
    root.addEventListener("keydown", (event) => this.step(event));
  }

  /** Show what a library holds over time. */
  show({ strip, unit }, date) {
    for (const element of [this.root, this.axis]) element.style.setProperty("--bars", strip.length);
    const most = Math.max(...strip.map(({ hours }) => hours), 1e-9);
    this.root.replaceChildren(...strip.map((bucket) => this.bar(bucket, unit, most)));
    const shown = [strip[0], strip[Math.floor((strip.length - 1) / 2)], strip.at(-1)].filter(Boolean).map((one) => one.date);
    this.axis.replaceChildren(...[...new Set(shown)].map((one) => make("span", { textContent: nameDate(one, unit) })));
    this.mark(date);
  }

  /** Show which date is chosen; the keyboard comes to it first. */
  mark(date) {
    const bars = this.bars();
    for (const bar of bars) {
      bar.setAttribute("aria-pressed", String(bar.dataset.date === date));
      bar.tabIndex = -1;
    }
    const first = bars.find((bar) => bar.dataset.date === date) ?? bars[0];
    if (first) first.tabIndex = 0;
  }

  bars() {
    return [...this.root.querySelectorAll("button:enabled")];
  }

  bar({ date, n_files: n, hours, shares }, unit, most) {
    const parts = EMOTIONS.filter((emotion) => shares[emotion] > 0).map((emotion) => {
      const part = make("span");
      Object.assign(part.style, { height: percentOf(shares[emotion]), background: COLOURS[emotion] });
      return part;
    });
    const bar = make("span", { className: "bar" }, ...parts);
    bar.style.height = n ? `${Math.max(LEAST_PERCENT, (100 * hours) / most)}%` : "0";
    const button = make("button", { type: "button", disabled: !n, title: `${nameDate(date, unit)}: ${describe(n, hours, shares)}` }, bar);
    button.dataset.date = date;
    button.setAttribute("aria-label", button.title);
    button.addEventListener("click", () => this.onChoose(button.getAttribute("aria-pressed") === "true" ? "" : date));
    return button;
  }

  step(event) {
    const bars = this.bars();
    const place = bars.indexOf(document.activeElement);
    const ways = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: bars.length - 1 };
    if (place < 0 || !(event.key in ways)) return;
    event.preventDefault();
    const next = bars[Math.min(Math.max(ways[event.key], 0), bars.length - 1)];
    for (const bar of bars) bar.tabIndex = bar === next ? 0 : -1;
    next.focus();
  }
}

const percentOf = (share) => `${(100 * share).toFixed(2)}%`;

/** A date in words: 31 May 2024, May 2024, 2024. */
export function nameDate(date, unit) {
  const parts = { day: { day: "numeric", month: "short", year: "numeric" }, month: { month: "short", year: "numeric" }, year: { year: "numeric" } };
  return new Intl.DateTimeFormat("en-GB", { ...parts[unit], timeZone: "UTC" }).format(new Date(date));
}

/** Hours as people say them: 20 s, 5 min, 1.5 h. */
export function nameHours(hours) {
  if (hours >= 1) return `${hours < 10 ? hours.toFixed(1) : Math.round(hours).toLocaleString("en")} h`;
  return hours * 60 >= 1 ? `${Math.round(hours * 60)} min` : `${Math.round(hours * 3600)} s`;
}

function describe(n, hours, shares) {
  const ranked = Object.entries(shares).filter(([, share]) => share >= 0.005).sort((a, b) => b[1] - a[1]).slice(0, 2);
  const shown = ranked.map(([emotion, share]) => `${emotion} ${percent(share)}`).join(", ");
  return `${n} file${n === 1 ? "" : "s"}, ${nameHours(hours)}${shown ? `; ${shown}` : ""}`;
}
