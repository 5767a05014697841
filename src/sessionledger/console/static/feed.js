// The live feed: appends what happens to the table of the overview, as text. Nothing else.
"use strict";
(() => {
  const MOST_ROWS = 50;
  const place = document.getElementById("feed");
  const body = place && place.querySelector("tbody");
  if (!body) return;
  const state = place.querySelector("[data-state]");
  const pause = place.querySelector("button");
  let waiting = [];
  let paused = false;

  const cell = (row, ...parts) => row.insertCell().append(...parts);
  const isolated = (text) => {
    const bdi = document.createElement("bdi");
    bdi.textContent = text || "–";
    return bdi;
  };
  const show = (one) => {
    const row = document.createElement("tr");
    row.className = "new";
    const time = document.createElement("time");
    time.dateTime = one.at;
    time.textContent = one.time;
    cell(row, time);
    const badge = document.createElement("span");
    badge.className = "badge " + (one.what === "began" ? "live" : one.what);
    badge.textContent = one.what;
    cell(row, badge, one.cause ? " " + one.cause : "");
    cell(row, isolated(one.principal));
    if (one.handle && place.dataset.sessions) {
      const link = document.createElement("a");
      link.href = "/sessions/" + encodeURIComponent(one.handle);
      link.textContent = one.handle.slice(10, 22) + "…";
      cell(row, link);
    } else cell(row, one.handle ? one.handle.slice(10, 22) + "…" : "–");
    cell(row, isolated(one.actor));
    cell(row, isolated(one.reason));
    body.prepend(row);
    while (body.rows.length > MOST_ROWS) body.deleteRow(-1);
  };
  const say = (text) => { state.textContent = text; };

  const source = new EventSource(place.dataset.source);
  source.onopen = () => say("Live");
  source.onerror = () => say(source.readyState === EventSource.CLOSED
    ? "Ended. Load the page again to go on." : "Connecting…");
  source.onmessage = (message) => {
    const one = JSON.parse(message.data);
    if (paused) {
      waiting = [...waiting, one].slice(-MOST_ROWS);
      say(waiting.length + " waiting");
    } else show(one);
  };
  pause.hidden = false;
  pause.onclick = () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    say(paused ? "Paused" : "Live");
    if (!paused) for (const one of waiting.splice(0)) show(one);
  };
})();
