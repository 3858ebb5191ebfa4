// The timeline of a record: a list that stays quick with ten thousand entries, a player, filters,
// links to an entry, and the tail of a run that is still worked. Everything that a record says is
// put on the page as text.
"use strict";

class Replay {
  static ROW_PX = 34;
  static SPARE_ROWS = 10;
  static LONGEST_IDLE_MS = 250;
  static SHORTEST_STEP_MS = 16;
  static DETAIL_WAIT_MS = 90;
  static MAX_KEPT = 60;

  constructor(root) {
    this.id = root.dataset.replay;
    this.live = root.dataset.live === "true";
    this.rows = [];
    this.shown = [];
    this.chosen = -1;
    this.kept = new Map();
    this.lanes = new Set([...root.querySelectorAll("[data-lane]")].map((box) => box.dataset.lane));
    this.types = new Set();
    this.rules = new Set();
    this.outcomes = new Set();
    this.view = byId("rows");
    this.sheet = document.createElement("div");
    this.sheet.className = "sheet";
    this.sheet.setAttribute("role", "presentation");
    this.view.append(this.sheet);
    this.listen(root);
    this.begin();
  }

  listen(root) {
    this.view.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.view);
    this.view.addEventListener("click", (event) => {
      const row = event.target.closest("[data-at]");
      if (row) this.choose(Number(row.dataset.at));
    });
    this.view.addEventListener("keydown", (event) => this.key(event));
    for (const box of root.querySelectorAll("[data-lane]")) {
      box.addEventListener("change", () => {
        if (box.checked) this.lanes.add(box.dataset.lane);
        else this.lanes.delete(box.dataset.lane);
        this.filter();
      });
    }
    for (const id of ["by-type", "by-rule", "by-outcome", "by-mark"]) {
      byId(id).addEventListener("change", () => this.filter());
    }
    byId("play").addEventListener("click", () => this.play(!this.playing));
    byId("speed").addEventListener("change", () => {
      if (this.playing) this.next();
    });
    byId("seek").addEventListener("input", (event) => this.choose(Number(event.target.value)));
    addEventListener("hashchange", () => this.follow());
  }

  async begin() {
    await this.read();
    this.follow();
    if (this.chosen < 0 && this.shown.length) this.choose(this.live ? this.shown.length - 1 : 0, false);
    if (this.live) this.tail();
  }

  // Reads what is new, a page at a time.
  async read() {
    if (this.reading) {
      this.again = true;
      return;
    }
    this.reading = true;
    do {
      this.again = false;
      for (let more = true; more;) {
        const after = this.rows.length ? this.rows[this.rows.length - 1].seq : 0;
        let page;
        try {
          const answer = await fetch(`/runs/${this.id}/replay/rows?after=${after}`);
          if (!answer.ok) throw new Error(String(answer.status));
          page = await answer.json();
        } catch {
          this.say("The record cannot be read now.");
          break;
        }
        this.say("");
        more = page.more;
        this.live = page.live;
        this.take(page.rows);
      }
    } while (this.again);
    this.reading = false;
  }

  take(rows) {
    const atEnd = this.chosen >= 0 && this.chosen === this.shown.length - 1;
    for (const row of rows) {
      this.rows.push(row);
      this.option("by-type", this.types, row.type);
      if (row.outcome) this.option("by-outcome", this.outcomes, row.outcome);
      for (const rule of row.rules || []) this.option("by-rule", this.rules, rule);
      if (this.fits(row)) this.shown.push(row);
    }
    byId("count").textContent = `${this.rows.length.toLocaleString()} entries`;
    this.measure();
    // Who looks at the newest entry goes on looking at the newest.
    if (rows.length && atEnd && !this.playing) this.choose(this.shown.length - 1, false);
  }

  option(id, known, value) {
    if (known.has(value)) return;
    known.add(value);
    const option = document.createElement("option");
    option.value = value;
    option.textContent = value.replaceAll("_", " ");
    byId(id).append(option);
  }

  fits(row) {
    const [type, rule, outcome] = ["by-type", "by-rule", "by-outcome"].map((id) => byId(id).value);
    return this.lanes.has(row.lane) && (!type || row.type === type) && (!outcome || row.outcome === outcome)
      && (!rule || (row.rules || []).includes(rule)) && (!byId("by-mark").checked || Boolean(row.marks));
  }

  filter() {
    const seq = this.shown[this.chosen]?.seq;
    this.shown = this.rows.filter((row) => this.fits(row));
    this.chosen = this.shown.findIndex((row) => row.seq === seq);
    this.measure();
    if (this.chosen >= 0) this.bringIntoView(this.chosen);
    announce(`${this.shown.length} entries`);
  }

  measure() {
    this.sheet.style.height = `${this.shown.length * Replay.ROW_PX}px`;
    const seek = byId("seek");
    seek.max = String(Math.max(0, this.shown.length - 1));
    seek.value = String(Math.max(0, this.chosen));
    this.draw();
  }

  // Only the rows that can be seen are in the page.
  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      const first = Math.max(0, Math.floor(this.view.scrollTop / Replay.ROW_PX) - Replay.SPARE_ROWS);
      const count = Math.ceil(this.view.clientHeight / Replay.ROW_PX) + 2 * Replay.SPARE_ROWS;
      const lines = this.shown.slice(first, first + count).map((row, n) => this.line(row, first + n));
      this.sheet.replaceChildren(...lines);
      const active = this.chosen >= first && this.chosen < first + count;
      if (active) this.view.setAttribute("aria-activedescendant", `row-${this.shown[this.chosen].seq}`);
      else this.view.removeAttribute("aria-activedescendant");
    });
  }

  line(row, at) {
    const line = document.createElement("div");
    line.id = `row-${row.seq}`;
    line.className = `line-of lane-${row.lane}${row.marks ? " marked" : ""}`;
    line.dataset.at = String(at);
    line.style.top = `${at * Replay.ROW_PX}px`;
    line.setAttribute("role", "option");
    line.setAttribute("aria-selected", String(at === this.chosen));
    line.setAttribute("aria-setsize", String(this.shown.length));
    line.setAttribute("aria-posinset", String(at + 1));
    const put = (name, text) => {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      line.append(part);
    };
    put("seq", `#${row.seq}`);
    put("at", this.clock(row));
    put("lane-name", row.lane.replaceAll("_", " "));
    put("what", row.words || row.type.replaceAll("_", " "));
    for (const mark of row.marks || []) put("flag", mark);
    if (row.rules) put("rule", row.rules.join(", "));
    if (row.outcome) put(`outcome ${row.outcome}`, row.outcome);
    return line;
  }

  clock(row) {
    const seconds = Math.max(0, Math.floor((row.us - this.rows[0].us) / 1e6));
    const two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(seconds / 3600);
    const minutes = Math.floor(seconds / 60) % 60;
    return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
  }

  choose(at, link = true) {
    if (!this.shown.length) return;
    this.chosen = Math.min(Math.max(at, 0), this.shown.length - 1);
    const row = this.shown[this.chosen];
    byId("seek").value = String(this.chosen);
    byId("seek").setAttribute("aria-valuetext", `entry ${row.seq}`);
    byId("clock").textContent = this.clock(row);
    if (link) history.replaceState(null, "", `#seq=${row.seq}`);
    this.bringIntoView(this.chosen);
    this.draw();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.show(row.seq), Replay.DETAIL_WAIT_MS);
  }

  bringIntoView(at) {
    const top = at * Replay.ROW_PX;
    const { scrollTop, clientHeight } = this.view;
    if (top < scrollTop) this.view.scrollTop = top;
    else if (top + Replay.ROW_PX > scrollTop + clientHeight) this.view.scrollTop = top + Replay.ROW_PX - clientHeight;
  }

  async show(seq) {
    let html = this.kept.get(seq);
    if (html === undefined) {
      try {
        const answer = await fetch(`/runs/${this.id}/replay/entries/${seq}`, { headers: { "x-fragment": "1" } });
        if (!answer.ok) throw new Error(String(answer.status));
        html = await answer.text();
      } catch {
        this.say("This entry cannot be read now.");
        return;
      }
      if (this.kept.size >= Replay.MAX_KEPT) this.kept.delete(this.kept.keys().next().value);
      this.kept.set(seq, html);
    }
    if (this.shown[this.chosen]?.seq !== seq) return;
    byId("entry").replaceChildren(...fragment(html).childNodes);
    byId("entry").dataset.seq = String(seq);
  }

  // `#seq=42` in the address.
  follow() {
    const seq = Number(/^#seq=(\d+)$/.exec(location.hash)?.[1]);
    if (!seq) return;
    const find = () => this.shown.findIndex((row) => row.seq === seq);
    if (find() < 0 && this.rows.some((row) => row.seq === seq)) {
      for (const box of document.querySelectorAll("[data-lane]")) {
        box.checked = true;
        this.lanes.add(box.dataset.lane);
      }
      for (const id of ["by-type", "by-rule", "by-outcome"]) byId(id).value = "";
      byId("by-mark").checked = false;
      this.filter();
    }
    if (find() >= 0) this.choose(find(), false);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const leap = Math.max(1, Math.floor(this.view.clientHeight / Replay.ROW_PX) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: leap, PageUp: -leap, Home: -Infinity, End: Infinity };
    if (event.key === " ") this.play(!this.playing);
    else if (event.key in moves) this.choose(Math.max(0, this.chosen) + moves[event.key]);
    else return;
    event.preventDefault();
  }

  play(on) {
    this.playing = on;
    clearTimeout(this.stepping);
    byId("play").textContent = on ? "Pause" : "Play";
    byId("play").setAttribute("aria-pressed", String(on));
    if (!on) return;
    if (this.chosen >= this.shown.length - 1) this.choose(0);
    this.next();
  }

  next() {
    clearTimeout(this.stepping);
    const [row, then] = [this.shown[this.chosen], this.shown[this.chosen + 1]];
    if (!row || !then) {
      this.play(false);
      return;
    }
    const speed = byId("speed").value;
    const apart = (then.us - row.us) / 1e3;
    const pause = speed === "idle" ? Math.min(apart, Replay.LONGEST_IDLE_MS) : apart / Number(speed);
    this.stepping = setTimeout(() => {
      this.choose(this.chosen + 1);
      this.next();
    }, Math.max(Replay.SHORTEST_STEP_MS, pause));
  }

  // What is added while one looks.
  tail() {
    const last = this.rows.length ? this.rows[this.rows.length - 1].seq : 0;
    const source = new EventSource(`/api/runs/${this.id}/events?after=${last}`);
    source.onopen = () => this.say("");
    source.onerror = () => this.say("Connection lost. Reconnecting…");
    for (const type of ENTRY_TYPES) source.addEventListener(type, () => this.read());
    source.addEventListener("end", () => {
      source.close();
      this.say("");
      this.read();
    });
  }

  say(text) {
    const place = byId("connection");
    place.textContent = text;
    place.hidden = !text;
  }
}

const replayed = document.querySelector("[data-replay]");
if (replayed) new Replay(replayed);
