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
  // How long to wait before the next try to connect, in milliseconds; ever longer until one has worked.
  const shortestWait = 250;
  const longestWait = 15000;
  let wait = shortestWait;
  let lastTag = 0;
  // Messages that came while the list is loaded anew; null when it is not.
  let held = null;
  // What was sent and not yet answered, by its tag: it goes back into the field when it is refused.
  const sent = new Map();

  const say = (text, bad) => { state.textContent = text; state.className = bad ? "error" : ""; };
  const giveBack = (text) => {
    if (text) field.value = field.value ? text + "\n" + field.value : text;
    keepDraft();
  };

  // What is being written outlives going to another page and back. It is this tab's and this user's alone.
  const draft = `draft:${user}:${room}`;
  function keepDraft() {
    try {
      if (field.value) sessionStorage.setItem(draft, field.value);
      else sessionStorage.removeItem(draft);
    } catch { /* A browser that keeps nothing. */ }
  }
  try { field.value ||= sessionStorage.getItem(draft) ?? ""; } catch { /* Likewise. */ }
  field.addEventListener("input", keepDraft);

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
    const change = item.querySelector(".edit");
    const focused = change?.contains(document.activeElement) ? document.activeElement : null;
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
    // Somebody who is editing it goes on.
    if (change && message.deleted) giveBack(change.querySelector("textarea").value);
    else if (change) {
      text.hidden = true;
      text.after(change);
      focused?.focus();
    }
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

  const overlap = 10000n << 22n; // Ids of ten seconds: those of different servers do not come in their order.

  // The whole list anew, for a reader who missed more than a page. What is being written stays as it is, in the field below
  // and in messages that are being edited.
  async function loadAnew() {
    if (held) return;
    held = [];
    try {
      const page = await fetch(location.href);
      if (!page.ok) throw new Error(page.statusText);
      const fresh = new DOMParser().parseFromString(await page.text(), "text/html").getElementById("messages");
      const edits = [...list.querySelectorAll(".edit")];
      const edited = edits.map((change) => [change.closest(".message").dataset.id, change.querySelector("textarea")]);
      const active = document.activeElement;
      list.replaceChildren(...fresh.children);
      list.querySelectorAll("time[data-ms]").forEach((time) => { time.textContent = timeText(Number(time.dataset.ms)); });
      list.querySelectorAll(".message").forEach((item) => { item.tabIndex = 0; });
      after = BigInt(fresh.dataset.after);
      for (const [id, input] of edited) {
        const again = list.querySelector(`[data-id="${id}"]`);
        if (again) edit(again, "/api/messages/" + id, input.value);
        else giveBack(input.value);
      }
      if (active !== document.body && active.isConnected) active.focus();
      list.scrollTop = list.scrollHeight;
      const missed = await fetch(`/api/rooms/${room}/changes?after=${after > overlap ? after - overlap : 0n}`);
      if (missed.ok) held = [...(await missed.json()).messages, ...held];
    } catch {
      if (socket) socket.close(); // It comes again, and is told again how far behind it is.
    }
    const late = held;
    held = null;
    late.forEach(show);
  }

  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/ws/${room}?after=${after}`);
    socket.onmessage = (event) => {
      const said = JSON.parse(event.data);
      if (said.type === "message") (held ? held.push(said.message) : show(said.message));
      else if (said.type === "behind") { connected(); loadAnew(); }
      else if (said.type === "caught_up") connected();
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
      wait = Math.min(wait * 2, longestWait);
    };
  }

  // An open socket is none yet that works: a server without its database closes it again.
  function connected() {
    wait = shortestWait;
    say("Connected.");
  }

  // A field in the place of the text; it stays as it was when the server refuses the new one.
  function edit(item, url, value) {
    const text = item.querySelector(".text");
    if (!text || item.querySelector(".edit")) return;
    const change = element("form", "edit");
    const input = element("textarea");
    input.value = value ?? text.textContent;
    input.rows = Math.min(10, input.value.split("\n").length + 1);
    input.setAttribute("aria-label", "Your message");
    const save = element("button", "", "Save");
    const cancel = button("Cancel", {});
    const close = () => {
      change.remove();
      item.querySelector(".text").hidden = false;
      item.focus();
    };
    cancel.addEventListener("click", close);
    change.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (await ask(url, "PUT", { body: input.value })) close();
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
    keepDraft();
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
  for (const name of ["mouseover", "focusin"]) {
    list.addEventListener(name, (event) => {
      list.querySelectorAll(".actions").forEach((actions) => { actions.hidden = true; });
      const actions = actionsOf(event);
      if (!actions) return;
      actions.hidden = false;
      // Below the last message there is no place that shows.
      if (name === "focusin" || !actions.parentElement.nextElementSibling) actions.scrollIntoView({ block: "nearest" });
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
