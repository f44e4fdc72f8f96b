// The clip itself: video, sound or picture, with boxes drawn over the faces in step with playback.

import { boxAt, drawBoxes, makeLayer } from "./boxes.js";
import { make } from "./dom.js";
import { cutThumbnails } from "./thumbnails.js";

/** Shows one clip. `onTime` is called with the seconds whenever they change, `onThumbnail` with a person's id and face. */
export class Player {
  constructor(figure, { onTime, onThumbnail }) {
    this.figure = figure;
    this.onTime = onTime;
    this.onThumbnail = onThumbnail;
  }

  /** Show a file and the people found in it. */
  show(file, prediction) {
    this.close();
    this.people = prediction.people;
    this.turns = prediction.turns ?? [];
    this.url = URL.createObjectURL(file);
    this.figure.classList.toggle("sound", prediction.modalities.face.state === "no_video_track");
    const isPicture = prediction.duration_s === 0 && !file.type.startsWith("video/");
    if (isPicture) this.showPicture();
    else this.showVideo();
  }

  /** Go to a time in seconds. */
  seek(time) {
    if (this.video?.readyState > 0) this.video.currentTime = time;
    this.tell(time);
  }

  /** Forget the clip. */
  close() {
    cancelAnimationFrame(this.tick);
    this.video?.pause();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = this.video = this.layer = undefined;
    this.figure.replaceChildren();
  }

  showPicture() {
    const image = make("img", { src: this.url, alt: "The picture that was read" });
    image.addEventListener("load", () => this.addLayer(image, image.naturalWidth, image.naturalHeight));
    image.addEventListener("error", () => this.giveUp());
    this.figure.append(image);
  }

  showVideo() {
    const video = make("video", { src: this.url, controls: true, playsInline: true, preload: "auto" });
    video.addEventListener("loadeddata", () => video.videoWidth && this.addLayer(video, video.videoWidth, video.videoHeight));
    video.addEventListener("seeked", () => this.tell(video.currentTime));
    video.addEventListener("play", () => this.follow());
    video.addEventListener("error", () => this.giveUp());
    this.video = video;
    this.figure.append(video);
  }

  addLayer(source, width, height) {
    if (this.layer) return;
    this.layer = makeLayer(width, height);
    this.figure.append(this.layer);
    this.tell(0);
    cutThumbnails(source, this.people, this.onThumbnail);
  }

  giveUp() {
    this.video = undefined;
    const text = "Your browser cannot play this kind of file. What was read in it stands here all the same.";
    this.figure.replaceChildren(make("p", { textContent: text }));
  }

  follow() {
    const { video } = this;
    if (!video) return;
    this.tell(video.currentTime);
    if (!video.paused) this.tick = requestAnimationFrame(() => this.follow());
  }

  tell(time) {
    if (this.layer) {
      const boxes = this.people.map((person) => ({ person, box: boxAt(person.boxes, time) })).filter(({ box }) => box);
      drawBoxes(this.layer, boxes.map(({ person, box }) => {
        const { label, abstained } = segmentAt(person.segments, time) ?? person; // the face alone: see the legend
        const speaks = this.turns.some((turn) => turn.person === person.id && turn.start_s <= time && time < turn.end_s);
        return { box, label, name: `${person.id} ${label}${abstained ? "?" : ""}${speaks ? ", speaks" : ""}` };
      }));
    }
    this.onTime(time);
  }
}

/** The segment that holds an instant; the last one holds the clip's end too. */
export function segmentAt(segments, time) {
  return segments.find((one) => one.start_s <= time && time < one.end_s)
    ?? segments.findLast((one) => one.end_s <= time && time - one.end_s < 0.3);
}
