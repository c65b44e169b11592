// Times in the reader's own zone; one that is not of today has its date.
"use strict";
globalThis.timeText = (ms) => {
  const at = new Date(ms);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return at.toDateString() === new Date().toDateString() ? time : at.toLocaleDateString() + " " + time;
};
document.querySelectorAll("time[data-ms]").forEach((time) => { time.textContent = timeText(Number(time.dataset.ms)); });
