/* Keeps the page live, and says so plainly when it is not (pages.md §3d). Time is measured by performance.now() and by
   ages that the server states: the PC's clock is never asked. */
(function () {
  "use strict";

  const DEAD_MS = 10000; // the server's own bound for a silent poller
  const ANSWER_MS = 4000; // no answer in this time is none
  const root = document.documentElement;
  const watchdog = document.getElementById("watchdog");
  const deadmen = document.querySelectorAll(".deadman");
  const favicon = document.getElementById("favicon");
  const iconHref = favicon.getAttribute("href");
  const wall = root.dataset.theme === "wall" || (root.dataset.theme === "auto" && window.innerWidth >= 2560);
  const refreshMs = wall ? 5000 : 2000;

  const title = document.title;
  let known = readState(document.getElementById("live"));
  let heardAt = performance.now(); // when the newest seq came
  let answeredAt = heardAt; // when the server last answered at all
  let paintedAt = heardAt; // when what stands on the page was printed
  let tag = "";
  let timer = 0;
  let asking = false;
  let blanked = false; // hidden or lost: nothing is shown until a new seq
  let backward = false;
  let reloadWanted = false;

  function readState(live) {
    const silent = live.dataset.silentMs;
    return {
      seq: Number(live.dataset.seq),
      boot: live.dataset.boot,
      software: live.dataset.software,
      alive: live.dataset.alive === "1",
      silentMs: silent === "" ? null : Number(silent),
      asOf: live.dataset.asOf
    };
  }

  function schedule(ms) {
    window.clearTimeout(timer);
    timer = window.setTimeout(ask, ms * (0.8 + Math.random() * 0.4));
  }

  function ask() {
    if (asking) return;
    asking = true;
    const address = new URL(window.location.href);
    address.searchParams.set("part", "1");
    const stop = new AbortController();
    const patience = window.setTimeout(function () { stop.abort(); }, ANSWER_MS);
    const headers = tag === "" ? {} : {"If-None-Match": tag};
    fetch(address.href, {headers: headers, cache: "no-store", credentials: "same-origin", signal: stop.signal})
      .then(take)
      .catch(function () { /* no answer: the watchdog counts the time */ })
      .then(function () {
        window.clearTimeout(patience);
        asking = false;
        judge();
        schedule(blanked && !document.hidden ? refreshMs / 4 : refreshMs);
      });
  }

  function take(response) {
    if (response.status === 304) {
      answeredAt = performance.now();
      known.silentMs = Number(response.headers.get("Minewatch-Silent-Ms"));
      return null;
    }
    if (!response.ok) return null;
    return response.text().then(function (text) {
      paint(new DOMParser().parseFromString(text, "text/html").getElementById("live"), response.headers.get("ETag"));
    });
  }

  function paint(next, nextTag) {
    if (!next) return;
    const state = readState(next);
    const sameBoot = state.boot === known.boot;
    if (sameBoot && state.seq < known.seq) { // an older picture is no picture
      backward = true;
      return;
    }
    answeredAt = paintedAt = performance.now();
    tag = nextTag || "";
    if (!sameBoot || state.software !== known.software) reloadWanted = true;
    const fresh = state.alive && (!sameBoot || state.seq > known.seq);
    known = state;
    window.minewatch.merge(document.getElementById("live"), next);
    document.querySelectorAll(".deadman-as-of").forEach(function (place) { place.textContent = state.asOf; });
    if (fresh) {
      heardAt = answeredAt;
      backward = false;
      if (!document.hidden) show();
    }
    // A page that says itself that the poller is silent is true: it needs no cover while the server goes on saying so.
    if (fresh || !state.alive) rearm();
    reloadIfWanted();
  }

  function rearm() {
    deadmen.forEach(function (layer) { layer.classList.add("rearm"); });
    void document.body.offsetWidth; // the browser must see the class come and go
    deadmen.forEach(function (layer) { layer.classList.remove("rearm"); });
  }

  function reloadIfWanted() {
    const typing = document.activeElement && document.activeElement.matches("input");
    if (reloadWanted && !typing) window.location.reload();
  }

  /* Lost: no new seq for three refreshes, or nothing newer than the server's own bound; seq backward at once. */
  function judge() {
    const elapsed = performance.now() - heardAt;
    const stated = known.silentMs === null ? 0 : known.silentMs + performance.now() - answeredAt;
    const unreachable = performance.now() - answeredAt > Math.min(3 * refreshMs, DEAD_MS);
    const frozen = known.alive && (elapsed > Math.min(3 * refreshMs, DEAD_MS) || stated > DEAD_MS);
    const lost = backward || unreachable || frozen;
    if (lost) {
      const words = watchdog.dataset;
      watchdog.textContent = (backward ? words.backward : unreachable ? words.unreachable : words.frozen) + " " + known.asOf;
      blank();
    }
    watchdog.hidden = !lost;
    root.classList.toggle("lost", lost);
    const bad = lost || !known.alive;
    document.title = bad ? watchdog.dataset.title + " " + title : title;
    favicon.setAttribute("href", bad ? favicon.dataset.lost : iconHref);
  }

  function blank() {
    blanked = true;
    root.classList.add("blank");
  }

  function show() {
    blanked = false;
    root.classList.remove("blank");
  }

  /* Between two answers ages go on: a value that outlives its bound is shown no longer. */
  function grow() {
    const waited = performance.now() - paintedAt;
    if (waited > 2000) {
      document.querySelectorAll(".v[data-late-ms]").forEach(function (value) {
        const age = value.dataset.ageMs;
        value.classList.toggle("overdue", age !== "" && Number(age) + waited > Number(value.dataset.lateMs));
      });
    }
    const age = document.getElementById("age");
    if (age && known.silentMs !== null) {
      const seconds = (known.silentMs + performance.now() - answeredAt) / 1000;
      age.textContent = (seconds < 10 ? seconds.toFixed(1) : Math.floor(seconds)) + " s";
    }
    const clock = document.getElementById("clock");
    if (clock && !root.classList.contains("lost")) {
      const shanghai = new Date(Number(clock.dataset.nowMs) + waited + 8 * 3600 * 1000); // UTC+8 all year
      clock.textContent = shanghai.toISOString().slice(0, 19).replace("T", " ");
    }
  }

  document.addEventListener("visibilitychange", function () {
    if (document.hidden) {
      blank();
    } else {
      schedule(0);
    }
  });
  window.addEventListener("pageshow", function (event) {
    if (event.persisted) { // out of the browser's memory: as old as it may be
      blank();
      schedule(0);
    }
  });
  document.addEventListener("focusout", function () { window.setTimeout(reloadIfWanted, 0); });
  window.setInterval(function () { judge(); grow(); }, 500);
  if (document.hidden) blank();
  schedule(refreshMs);
})();
