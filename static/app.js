// Makes the pages live. Everything here is an addition: without it they are plain pages and forms.
// What a run looks like is decided by the server alone; this script fetches what changed and puts
// it in its place.
"use strict";

const REFRESH_MS = 4000;
const RETRY_MS = [500, 1000, 2000, 5000];
const NEAR_END_PX = 160;
const ENTRY_TYPES = ["created", "message", "prepared", "replied", "tool_started", "decided", "intended",
  "approval_requested", "approval_changed", "carried",
  "performed", "exchanged", "tool_finished", "trouble", "waiting", "resumed", "cancel_requested", "killed", "finished", "unknown"];

const byId = (id) => document.getElementById(id);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

function announce(text) {
  const place = byId("announce");
  if (place && text) place.textContent = text;
}

// Times in the reader's own zone; the exact one stays in the attribute.
function localTimes(root) {
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const when = new Date(time.dateTime);
    if (Number.isNaN(when.getTime())) continue;
    const clock = when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const day = when.toLocaleDateString([], { day: "numeric", month: "short" });
    time.textContent = when.toDateString() === today ? clock : `${day}, ${clock}`;
    time.title = when.toLocaleString();
  }
}

// Ctrl+Enter or Cmd+Enter sends, in every composer.
document.addEventListener("keydown", (event) => {
  const form = event.target instanceof HTMLTextAreaElement && event.target.form;
  if (form && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit();
  }
});

// A form that goes to another page is sent once; coming back, it can be sent again.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  // A moment later: a button that is disabled now would not be sent along, and it says what was chosen.
  setTimeout(() => {
    for (const button of event.target.querySelectorAll("button")) button.disabled = true;
  });
});
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const button of document.querySelectorAll("form button")) button.disabled = false;
});

function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  localTimes(template.content);
  return template.content;
}

// Lists that change by themselves.
function keepFresh(place) {
  let before = "";
  setInterval(async () => {
    // What a person is about to press must not move away under the finger.
    if (document.hidden || place.contains(document.activeElement)) return;
    try {
      const answer = await fetch(place.dataset.refresh, { headers: { "x-fragment": "1" } });
      if (!answer.ok) return;
      const html = await answer.text();
      if (html === before) return;
      before = html;
      const news = fragment(html);
      const part = place.id ? news.querySelector(`#${place.id}`) : news;
      if (part) place.replaceChildren(...part.childNodes);
    } catch { /* offline: the list stays as it is */ }
  }, REFRESH_MS);
}

class RunPage {
  constructor(root) {
    this.id = root.dataset.run;
    this.replied = 0;
    this.force = false;
    this.told = byId("run-status").dataset.words;
    this.timeline = byId("timeline");
    this.streaming = byId("streaming");
    this.words = this.streaming.querySelector(".words");
    this.turn = 0;
    this.spoken = 0;
    this.wanted = 0;
    this.fetching = false;
    this.source = null;
    this.say(root.querySelector("[data-say]"));
    root.addEventListener("submit", (event) => {
      if (event.target.matches("[data-stop]")) this.stop(event);
    });
    setInterval(() => this.tick(), 1000);
    if (this.status().dataset.live === "true") {
      if (!location.hash) this.toEnd();
      this.connect();
    }
  }

  status() { return byId("run-status"); }
  seq() { return Number(this.status().dataset.seq); }

  connect() {
    if (this.source) return;
    const source = new EventSource(`/api/runs/${this.id}/events?after=${this.seq()}`);
    this.source = source;
    source.onopen = () => this.connection("");
    source.onerror = () => {
      this.connection("Connection lost. Reconnecting…");
      // A browser gives up when the answer was an error; then we go on trying.
      if (source.readyState === EventSource.CLOSED) {
        this.source = null;
        setTimeout(() => this.connect(), RETRY_MS[RETRY_MS.length - 1]);
      }
    };
    for (const type of ENTRY_TYPES) {
      source.addEventListener(type, (event) => {
        const entry = JSON.parse(event.data);
        this.update(entry.seq, type === "replied" ? entry.turn : type === "finished" ? Infinity : 0);
      });
    }
    source.addEventListener("delta", (event) => this.delta(JSON.parse(event.data)));
    source.addEventListener("end", () => {
      source.close();
      this.source = null;
      this.connection("");
      this.update(this.wanted, Infinity, true);
    });
  }

  connection(text) {
    const place = byId("connection");
    place.textContent = text;
    place.hidden = !text;
  }

  // Words of the turn that is being written: text only, replaced by the rendered reply later.
  delta({ turn, offset, text }) {
    const follow = this.nearEnd();
    if (offset === 0) {
      this.words.textContent = text;
      this.spoken = 0;
    } else {
      this.words.append(text);
    }
    this.turn = turn;
    this.streaming.hidden = this.words.textContent.trim() === "";
    this.speak();
    if (follow) this.toEnd();
  }

  // A screen reader gets whole sentences, not letters.
  speak() {
    const text = this.words.textContent;
    const end = Math.max(text.lastIndexOf(". "), text.lastIndexOf("\n"));
    if (end >= this.spoken) {
      announce(text.slice(this.spoken, end + 1));
      this.spoken = end + 1;
    }
  }

  // Fetches what changed; requests that come while one is under way share the next.
  async update(seq, repliedTurn, force = false) {
    this.wanted = Math.max(this.wanted, seq);
    this.replied = Math.max(this.replied, repliedTurn);
    this.force ||= force;
    if (this.fetching) return;
    this.fetching = true;
    for (let failures = 0; this.wanted > this.seq() || this.force;) {
      this.force = false;
      const replied = this.replied;
      try {
        const answer = await fetch(`/runs/${this.id}/timeline?after=${this.seq()}`, { headers: { "x-fragment": "1" } });
        if (!answer.ok) throw new Error(String(answer.status));
        this.put(fragment(await answer.text()), replied);
        failures = 0;
        this.connection("");
        // The next look would find the same.
        if (this.wanted > this.seq()) await wait(RETRY_MS[0]);
      } catch {
        this.connection("What happened cannot be loaded right now. Trying again…");
        this.force = true;
        await wait(RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
      }
    }
    this.fetching = false;
  }

  put(content, repliedTurn) {
    const follow = this.nearEnd();
    if (this.turn <= repliedTurn) {
      this.words.textContent = "";
      this.streaming.hidden = true;
      this.spoken = 0;
    }
    for (const part of [...content.children]) {
      const old = byId(part.id);
      if (!old) {
        this.timeline.append(part);
        part.classList.add("fresh");
      } else {
        for (const details of old.querySelectorAll("details[data-part]")) {
          const same = part.querySelector(`details[data-part="${details.dataset.part}"]`);
          if (same) same.open = details.open;
        }
        // What a person has typed into a card stays.
        for (const box of old.querySelectorAll("form.decide input:not([type=hidden])")) {
          const same = box.id && part.querySelector(`#${CSS.escape(box.id)}`);
          if (same) same.value = box.value;
        }
        const focused = old.contains(document.activeElement);
        old.replaceWith(part);
        if (focused) (part.querySelector("summary, a, button") ?? byId("main")).focus({ preventScroll: true });
      }
      if (part.matches(".tool, .notice")) announce(part.querySelector("h2, .words")?.textContent + " " + (part.querySelector(".meta")?.textContent ?? ""));
      if (part.id === "run-status") this.headline(part);
    }
    if (follow) this.toEnd();
  }

  headline(status) {
    const { words, prompt } = status.dataset;
    if (words !== this.told) announce(words);
    this.told = words;
    document.title = `${words} · ${status.querySelector("h1").textContent} · ado-coworker`;
    byId("text").placeholder = prompt;
    this.tick();
  }

  // The time worked goes on by itself while the run is worked.
  tick() {
    const place = document.querySelector("[data-counts-from]");
    if (!place) return;
    const seconds = Math.max(0, Math.round((Date.now() - new Date(place.dataset.countsFrom)) / 1000));
    const minutes = Math.floor(seconds / 60);
    place.textContent = minutes >= 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min`
      : minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
  }

  nearEnd() {
    const { scrollHeight, clientHeight, scrollTop } = document.documentElement;
    return scrollHeight - clientHeight - scrollTop < NEAR_END_PX;
  }

  toEnd() {
    scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
  }

  async post(path, body) {
    const answer = await fetch(`/api/runs/${this.id}/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const said = await answer.json();
    if (!answer.ok) throw new Error(`${said.detail} ${said.remedy}`);
    return said;
  }

  trouble(text) {
    const place = byId("trouble");
    place.textContent = text;
    place.hidden = !text;
  }

  say(form) {
    const box = form.elements.text;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      button.disabled = true;
      try {
        const { seq } = await this.post("messages", { text: box.value });
        box.value = "";
        this.trouble("");
        this.toEnd();
        await this.update(seq, 0);
        this.connect();
      } catch (error) {
        this.trouble(error instanceof TypeError ? "It could not be sent: there is no connection. Your words are still here." : error.message);
      }
      button.disabled = false;
      box.focus();
    });
  }

  async stop(event) {
    event.preventDefault();
    event.target.querySelector("button").disabled = true;
    try {
      const { seq } = await this.post("cancel", {});
      await this.update(seq, 0);
    } catch (error) {
      this.trouble(error instanceof TypeError ? "It could not be stopped: there is no connection." : error.message);
      await this.update(this.wanted, 0, true);
    }
  }
}

localTimes(document);
for (const place of document.querySelectorAll("[data-refresh]")) keepFresh(place);
const run = document.querySelector("[data-run]");
if (run) new RunPage(run);
