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
  let lastTag = 0;
  // What was sent and not yet answered, by its tag: it goes back into the field when it is refused.
  const sent = new Map();

  const say = (text, bad) => { state.textContent = text; state.className = bad ? "error" : ""; };
  const giveBack = (text) => { if (text) field.value = field.value ? text + "\n" + field.value : text; };

  function signedOut() {
    say("You are signed out. ", true);
    const link = element("a", "", "Sign in");
    link.href = "/";
    state.append(link);
  }

  // Tries a request; null, and a word about it, when it does not work.
  async function ask(url, method, body) {
    try {
      const answer = await fetch(url, { method, body: body && JSON.stringify(body) });
      if (answer.ok) return answer;
      if (answer.status === 401) signedOut();
      else say((await answer.json()).error, true);
    } catch {
      say("The server cannot be reached.", true);
    }
    return null;
  }
  const timeOf = (id) => Number((BigInt(id) >> 22n) + 1704067200000n);
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
    const time = element("time", "", timeText(timeOf(message.id)));
    const text = message.deleted
      ? element("p", "text gone", "This message was deleted.")
      : element("p", "text", message.body);
    const name = element("a", "name", message.name);
    name.href = "/users/" + message.author;
    item.replaceChildren(name, " ", time);
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
    item.tabIndex = 0;
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
      else if (said.type === "taken") sent.delete(said.tag);
      else if (said.type === "error") {
        giveBack(sent.get(said.tag));
        sent.delete(said.tag);
        if (said.signed_out) signedOut();
        else say(said.error, true);
      }
    };
    socket.onclose = async (event) => {
      const unanswered = [...sent.values()].join("\n");
      sent.clear();
      giveBack(unanswered);
      say("Not connected; trying again." + (unanswered ? " Your last message may not have been sent." : ""), true);
      // A socket does not tell why it was refused; another request does.
      if (event.code === 1008 || await isSignedOut()) { signedOut(); return; }
      setTimeout(connect, wait * (0.5 + Math.random()));
      wait = Math.min(wait * 2, 5000);
    };
  }

  // A field in the place of the text; it stays as it was when the server refuses the new one.
  function edit(item, url) {
    const text = item.querySelector(".text");
    if (!text || item.querySelector(".edit")) return;
    const change = element("form", "edit");
    const input = element("textarea");
    input.value = text.textContent;
    input.rows = Math.min(10, input.value.split("\n").length + 1);
    input.setAttribute("aria-label", "Your message");
    const save = element("button", "", "Save");
    const cancel = button("Cancel", {});
    cancel.addEventListener("click", () => { change.remove(); text.hidden = false; });
    change.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!await ask(url, "PUT", { body: input.value })) return;
      change.remove();
      text.hidden = false;
    });
    input.addEventListener("keydown", (event) => { if (event.key === "Escape") cancel.click(); });
    change.append(input, " ", save, " ", cancel);
    text.hidden = true;
    text.after(change);
    input.focus();
  }

  async function isSignedOut() {
    try {
      return (await fetch("/api/rooms", { method: "HEAD" })).status === 401;
    } catch {
      return false;
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = field.value.trim();
    if (!body) return;
    field.value = "";
    say("");
    if (socket && socket.readyState === WebSocket.OPEN) {
      lastTag += 1;
      sent.set(lastTag, body);
      socket.send(JSON.stringify({ body, tag: lastTag }));
      return;
    }
    const answer = await ask(`/api/rooms/${room}/messages`, "POST", { body });
    if (!answer) giveBack(body);
    else if (list.dataset.live === "true") show(await answer.json());
    else location.href = "/rooms/" + room;
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); form.requestSubmit(); }
  });

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
    if (pressed.dataset.emoji) {
      const answer = await ask(url + "/reactions", "POST", { emoji: pressed.dataset.emoji });
      if (answer) say("You reacted with " + pressed.dataset.emoji);
    } else if ("edit" in pressed.dataset) {
      edit(item, url);
    } else if ("delete" in pressed.dataset && confirm("Delete this message?")) {
      await ask(url, "DELETE");
    }
  });
  list.scrollTop = list.scrollHeight;
  if (list.dataset.live === "true") connect();
})();
