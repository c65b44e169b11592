// Live messages of a room: shows what comes, sends what is typed, connects anew and catches up when the line was cut.
"use strict";
(() => {
  const list = document.getElementById("messages");
  const state = document.getElementById("state");
  const form = document.getElementById("say");
  const field = document.getElementById("body");
  if (!list || !form) return;
  const room = list.dataset.room;
  const user = list.dataset.user;
  let after = BigInt(list.dataset.after || "0");
  let socket = null;
  let wait = 250;

  const say = (text, bad) => { state.textContent = text; state.className = bad ? "error" : ""; };
  const timeOf = (id) => Number((BigInt(id) >> 22n) + 1704067200000n);
  const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const element = (tag, name, text) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  function button(label, data) {
    const made = element("button", "", label);
    made.type = "button";
    Object.assign(made.dataset, data);
    return made;
  }

  function fill(item, message) {
    let reactions = item.querySelector(".reactions");
    if (message.reactions) {
      reactions = message.reactions.length ? element("p", "reactions") : null;
      for (const one of message.reactions) reactions.append(element("span", "", `${one.emoji} ${one.count} `));
    }
    item.dataset.id = message.id;
    item.dataset.changed = message.changed;
    const time = element("time", "", clock(timeOf(message.id)));
    const text = message.deleted
      ? element("p", "text gone", "This message was deleted.")
      : element("p", "text", message.body);
    item.replaceChildren(element("strong", "name", message.name), " ", time);
    if (message.edited_ms > 0) item.append(element("small", "edited", " edited"));
    item.append(text);
    if (reactions) item.append(reactions);
    if (message.deleted) return;
    const actions = element("div", "actions");
    actions.hidden = true;
    for (const emoji of ["👍", "❤️", "😂", "🎉", "🤔"]) {
      const made = button(emoji, { emoji });
      made.setAttribute("aria-label", "React with " + emoji);
      actions.append(made);
    }
    if (message.author === user) actions.append(button("Edit", { edit: "" }), button("Delete", { delete: "" }));
    item.append(actions);
  }

  function show(message) {
    const changed = BigInt(message.changed);
    if (changed > after) after = changed;
    const known = list.querySelector(`[data-id="${message.id}"]`);
    if (known) {
      if (BigInt(known.dataset.changed) < changed) fill(known, message);
      return;
    }
    const first = list.firstElementChild;
    if (first && BigInt(first.dataset.id) > BigInt(message.id)) return; // On an older page.
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    const item = element("li", "message");
    fill(item, message);
    // Messages stand in the order of their ids, whatever the order in which they come.
    let next = null;
    for (let at = list.lastElementChild; at && BigInt(at.dataset.id) > BigInt(message.id); at = at.previousElementSibling) next = at;
    list.insertBefore(item, next);
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/ws/${room}?after=${after}`);
    socket.onopen = () => { wait = 250; say("Connected."); };
    socket.onmessage = (event) => {
      const said = JSON.parse(event.data);
      if (said.type === "message") show(said.message);
      else if (said.type === "behind") location.reload();
      else if (said.type === "error") say(said.error, true);
    };
    socket.onclose = () => {
      say("Not connected; trying again.", true);
      setTimeout(connect, wait * (0.5 + Math.random()));
      wait = Math.min(wait * 2, 5000);
    };
  }

  form.addEventListener("submit", (event) => {
    if (!socket || socket.readyState !== WebSocket.OPEN) return; // Then the form does what forms do.
    event.preventDefault();
    const body = field.value.trim();
    if (!body) return;
    socket.send(JSON.stringify({ body }));
    field.value = "";
    say("");
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); form.requestSubmit(); }
  });

  list.querySelectorAll("time[data-ms]").forEach((time) => { time.textContent = clock(Number(time.dataset.ms)); });
  list.querySelectorAll(".message").forEach((item) => { item.tabIndex = 0; });
  const actionsOf = (event) => event.target.closest(".message")?.querySelector(".actions");
  for (const [name, hidden] of [["mouseover", false], ["focusin", false]]) {
    list.addEventListener(name, (event) => {
      list.querySelectorAll(".actions").forEach((actions) => { actions.hidden = true; });
      const actions = actionsOf(event);
      if (actions) actions.hidden = hidden;
    });
  }
  list.addEventListener("click", async (event) => {
    const pressed = event.target.closest("button");
    const item = event.target.closest(".message");
    if (!pressed || !item) return;
    const url = "/api/messages/" + item.dataset.id;
    let answer = null;
    if (pressed.dataset.emoji) {
      answer = await fetch(url + "/reactions", { method: "POST", body: JSON.stringify({ emoji: pressed.dataset.emoji }) });
      if (answer.ok) say("You reacted with " + pressed.dataset.emoji);
    } else if ("edit" in pressed.dataset) {
      const body = prompt("Edit your message", item.querySelector(".text").textContent);
      if (body) answer = await fetch(url, { method: "PUT", body: JSON.stringify({ body }) });
    } else if ("delete" in pressed.dataset && confirm("Delete this message?")) {
      answer = await fetch(url, { method: "DELETE" });
    }
    if (answer && !answer.ok) say((await answer.json()).error, true);
  });
  list.scrollTop = list.scrollHeight;
  if (list.dataset.live === "true") connect();
})();
