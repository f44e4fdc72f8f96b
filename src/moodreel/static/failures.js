// What has failed, as the page tells it; a server that asks for a token is asked again with one.

import { hasToken, Problem, setToken } from "./api.js";
import { byId } from "./dom.js";

/** Show nothing of this any more. */
export function hideFailure() {
  byId("failure").hidden = byId("token").hidden = true;
}

/** Tell of what a call has failed by; what is no problem told by the server or its absence is thrown on. */
export function tellFailure(error) {
  if (!(error instanceof Problem)) throw error;
  if (error.status === 401) askForToken();
  else tell(error.title, error.message, error.pointer);
}

function tell(title, text, pointer = "") {
  byId("failure-title").textContent = title;
  byId("failure-text").textContent = text;
  const marked = byId("failure-pointer");
  if (marked) {
    marked.textContent = pointer;
    marked.hidden = !pointer;
  }
  byId("failure").hidden = false;
}

function askForToken() {
  if (hasToken()) tell("That token is wrong", "The server does not know it. Capital letters count; enter it again.");
  else tell("This server asks for a token", "It answers only those who have it.");
  setToken("");
  byId("token-text").value = "";
  byId("token").hidden = false;
  byId("token-text").focus();
}

/** Call `retry` once a token was entered. */
export function onToken(retry) {
  byId("token").addEventListener("submit", (event) => {
    event.preventDefault();
    setToken(byId("token-text").value);
    retry();
  });
}
