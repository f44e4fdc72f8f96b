// What is chosen beside the text: emotions with sliders, and facets; together a query in the language of the search box.

import { COLOURS, EMOTIONS } from "./emotions.js";
import { byId, make } from "./dom.js";

const FIRST_SHARE = 60; // percent, of an emotion that is chosen
const LEAST_S = [0, 1, 2, 5, 10, 30];
const PEOPLE = { "": "any number", 1: "one", 2: "two", 3: "three or more" };

const quote = (text) => `'${text.replaceAll("'", "''")}'`;
const counted = (n) => n.toLocaleString("en");

/** The choices. `onChange` is called whenever one was changed. */
export class Filters {
  constructor({ onChange }) {
    this.onChange = onChange;
    this.emotions = {}; // percent by emotion that is chosen
    this.date = "";
    byId("chips").replaceChildren(...EMOTIONS.map((emotion) => this.chip(emotion)));
    byId("facets").addEventListener("change", onChange);
    byId("facets").addEventListener("submit", (event) => event.preventDefault());
    byId("min-s").replaceChildren(...LEAST_S.map((s) => new Option(s ? `at least ${s} s` : "any", s)));
  }

  /** Offer what a library holds. */
  offer({ face, voice, people, lengths, folders }) {
    const ofPeople = (value) => people.filter((one) => one.value === Number(value)).reduce((sum, one) => sum + one.n_files, 0);
    byId("facet-modalities").replaceChildren(
      choice("checkbox", "modality", "face", "a face is read", face.n_files),
      choice("checkbox", "modality", "voice", "a voice is heard", voice.n_files),
    );
    byId("facet-people").replaceChildren(...Object.keys(PEOPLE).sort().map((value) =>
      choice("radio", "people", value, PEOPLE[value], value && ofPeople(value))));
    byId("lengths").replaceChildren(new Option("any", ""), ...lengths.map(({ value, n_files: n }) =>
      new Option(`${LENGTHS[value][0]} (${counted(n)})`, value)));
    byId("facet-folders").replaceChildren(...folders.map(({ value, n_files: n }) =>
      choice("checkbox", "folder", value, value || "(not in a folder)", n)));
    this.show();
  }

  /** What is chosen, as text for the page's address: names and values. */
  get chosen() {
    const named = ["modality", "people", "folder"].flatMap((name) => checked(name).filter(Boolean).map((value) => [name, value]));
    const shares = Object.entries(this.emotions).map(([emotion, share]) => [emotion, String(share)]);
    const rest = { date: this.date, length: byId("lengths").value, min_s: byId("min-s").value };
    return [...shares, ...named, ...Object.entries(rest).filter(([, value]) => value && value !== "0")];
  }

  /** Choose what an address says. */
  choose(asked) {
    this.emotions = {};
    for (const emotion of EMOTIONS) {
      const share = Number(asked.get(emotion));
      if (share > 0 && share <= 100) this.emotions[emotion] = share;
    }
    this.date = asked.get("date") ?? "";
    byId("lengths").value = asked.get("length") ?? "";
    byId("min-s").value = asked.get("min_s") ?? "0";
    for (const input of byId("facets").querySelectorAll("input")) {
      input.checked = input.value ? asked.getAll(input.name).includes(input.value) : !asked.has(input.name) && input.type === "radio";
    }
    this.show();
  }

  /** The choices as a query; empty where there are none. */
  get query() {
    const conditions = [
      Object.entries(this.emotions).map(([emotion, share]) => `${emotion} >= ${share}%`).join(" or "),
      ...checked("modality"),
      ...checked("people").filter(Boolean).map((n) => (n === "3" ? "people >= 3" : `people = ${n}`)),
      lengthCondition(byId("lengths").value),
      checked("folder").length ? `folder in (${checked("folder").map(quote).join(", ")})` : "",
      this.date && `date = ${this.date}`,
    ].filter(Boolean);
    return conditions.map((one) => (conditions.length > 1 && one.includes(" or ") ? `(${one})` : one)).join(" and ");
  }

  /** How long a moment must be, in seconds. */
  get leastSeconds() {
    return byId("min-s").value;
  }

  chip(emotion) {
    const name = make("span", { textContent: emotion });
    const swatch = make("i", { className: "swatch" });
    swatch.style.background = COLOURS[emotion];
    const button = make("button", { type: "button" }, swatch, name, make("output"));
    const slider = make("input", { type: "range", min: 5, max: 95, step: 5, value: FIRST_SHARE });
    slider.setAttribute("aria-label", `Least share of ${emotion}`);
    button.addEventListener("click", () => {
      if (emotion in this.emotions) delete this.emotions[emotion];
      else this.emotions[emotion] = Number(slider.value);
      this.show();
      this.onChange();
    });
    slider.addEventListener("input", () => {
      this.emotions[emotion] = Number(slider.value);
      this.show();
      this.onChange();
    });
    const chip = make("div", { className: "chip" }, button, slider);
    chip.dataset.emotion = emotion;
    return chip;
  }

  show() {
    for (const chip of byId("chips").children) {
      const share = this.emotions[chip.dataset.emotion];
      chip.classList.toggle("on", share !== undefined);
      chip.firstChild.setAttribute("aria-pressed", String(share !== undefined));
      chip.querySelector("output").textContent = share === undefined ? "" : `${share}%`;
      if (share !== undefined) chip.lastChild.value = share;
      chip.lastChild.setAttribute("aria-valuetext", `${chip.lastChild.value}%${share === undefined ? ", not asked for" : ""}`);
    }
  }
}

const LENGTHS = {
  0: ["under 10 s", "duration < 10"],
  10: ["10 s to 1 min", "duration >= 10 and duration < 60"],
  60: ["1 to 10 min", "duration >= 60 and duration < 600"],
  600: ["10 to 60 min", "duration >= 600 and duration < 3600"],
  3600: ["an hour and more", "duration >= 3600"],
};

const lengthCondition = (value) => (value in LENGTHS ? LENGTHS[value][1] : "");

const checked = (name) => [...byId("facets").querySelectorAll(`input[name="${name}"]:checked`)].map(({ value }) => value);

function choice(type, name, value, text, n) {
  const input = make("input", { type, name, value, checked: type === "radio" && !value });
  const count = make("span", { className: "count", textContent: n === "" ? "" : counted(n) });
  return make("label", {}, input, make("span", { className: "name", textContent: text }), count);
}
