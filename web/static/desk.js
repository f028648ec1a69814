/* The alarm desk: keys, and a list that never moves under the hand (pages.md §1.4, §3b). Without this script the page
   still works: boxes, buttons and the form are plain HTML. */
(function () {
  "use strict";

  const waiting = document.getElementById("waiting");
  const HOVER_MS = 30000; // a pointer left lying on the list holds it no longer than this
  let pending = null; // the newest rows, while the list is held
  let pointerAt = -HOVER_MS;

  function rowsBody() { return document.querySelector("tbody[data-rows]"); }
  function rows() { return Array.from(document.querySelectorAll("tbody[data-rows] > tr")); }
  function box(row) { return row.querySelector("input[type=checkbox]"); }

  /* Held while a person is at it: the pointer over a row, the focus in the form, or a box ticked. */
  function held(body) {
    const form = document.getElementById("desk");
    const pointing = body.matches(":hover") && performance.now() - pointerAt < HOVER_MS;
    return pointing || form.contains(document.activeElement) || body.querySelector("input:checked") !== null;
  }

  function mergeRows(now, next) {
    if (held(now)) {
      hold(now, next);
    } else {
      release(now, next);
    }
  }

  function hold(now, next) {
    const coming = byKey(next);
    Array.from(now.children).forEach(function (row) {
      const fresh = coming.get(row.dataset.key);
      coming.delete(row.dataset.key);
      if (fresh) {
        const told = row.classList.contains("changed");
        update(row, fresh, now);
        if (told) say(row, "changed", now.dataset.changed);
      } else if (row.dataset.key) {
        say(row, "gone", now.dataset.gone);
      }
    });
    pending = next;
    waiting.hidden = coming.size === 0;
    waiting.textContent = waiting.dataset.text.replace("{n}", String(coming.size));
  }

  function release(now, next) {
    const there = byKey(now);
    Array.from(next.children).forEach(function (fresh, i) {
      let row = there.get(fresh.dataset.key);
      if (row) {
        there.delete(fresh.dataset.key);
        update(row, fresh, now);
      } else {
        row = document.importNode(fresh, true);
      }
      if (now.children[i] !== row) now.insertBefore(row, now.children[i] || null);
    });
    there.forEach(function (row) { now.removeChild(row); });
    pending = null;
    waiting.hidden = true;
  }

  function byKey(body) {
    const found = new Map();
    Array.from(body.children).forEach(function (row) { found.set(row.dataset.key, row); });
    return found;
  }

  /* A row whose alarm changed since it was ticked is unticked: an act counts only for what the person saw. */
  function update(row, fresh, body) {
    const ticked = box(row);
    const offered = box(fresh);
    const changed = ticked && ticked.checked && (!offered || offered.value !== ticked.value);
    if (changed) ticked.checked = false;
    const focus = row.tabIndex;
    row.className = fresh.className;
    row.tabIndex = focus;
    window.minewatch.mergeChildren(row, fresh);
    if (changed) say(row, "changed", body.dataset.changed);
    if (ticked && ticked.checked) row.classList.add("chosen");
  }

  function say(row, name, text) {
    row.classList.add(name);
    const cell = row.querySelector("td.state");
    if (cell) cell.dataset.said = text;
  }

  function move(step) {
    const all = rows();
    if (all.length === 0) return;
    const at = all.indexOf(document.activeElement.closest ? document.activeElement.closest("tbody[data-rows] > tr") : null);
    const to = at < 0 ? 0 : Math.min(Math.max(at + step, 0), all.length - 1);
    all[to].focus();
  }

  function toggle(row) {
    const tick = row && box(row);
    if (!tick) return;
    tick.checked = !tick.checked;
    row.classList.toggle("chosen", tick.checked);
  }

  function letGo() {
    rows().forEach(function (row) {
      const tick = box(row);
      if (tick) tick.checked = false;
      row.classList.remove("chosen");
    });
    if (document.activeElement) document.activeElement.blur();
    showPending();
  }

  function showPending() {
    const body = rowsBody();
    if (pending && body) release(body, pending);
  }

  function keyDown(event) {
    if (event.isComposing || event.keyCode === 229 || event.ctrlKey || event.altKey || event.metaKey) return;
    const typing = document.activeElement && document.activeElement.matches("input:not([type=checkbox])");
    const row = document.activeElement && document.activeElement.closest ? document.activeElement.closest("tbody[data-rows] > tr") : null;
    if (event.key === "F2") {
      event.preventDefault();
      acknowledge(row);
    } else if (event.key === "Escape") {
      letGo();
    } else if (typing) {
      return;
    } else if (event.key === "ArrowDown" || event.key === "j" || event.key === "J") {
      event.preventDefault();
      move(1);
    } else if (event.key === "ArrowUp" || event.key === "k" || event.key === "K") {
      event.preventDefault();
      move(-1);
    } else if (event.key === " " && row && document.activeElement === row) {
      event.preventDefault();
      toggle(row);
    }
  }

  /* F2: what is ticked; where nothing is, the row that has the focus. */
  function acknowledge(row) {
    const body = rowsBody();
    if (!body.querySelector("input:checked") && row) toggle(row);
    if (body.querySelector("input:checked")) document.getElementById("acknowledge").click();
  }

  function once(event) {
    window.setTimeout(function () { // after the browser has read the button that was pressed
      event.target.querySelectorAll("button[type=submit]").forEach(function (button) { button.disabled = true; });
    }, 0);
  }

  if (rowsBody()) {
    window.minewatch.mergeRows = mergeRows;
    document.addEventListener("keydown", keyDown);
    document.addEventListener("mousemove", function () { pointerAt = performance.now(); });
    document.addEventListener("change", function (event) {
      const row = event.target.closest("tbody[data-rows] > tr");
      if (row) row.classList.toggle("chosen", event.target.checked);
    });
    waiting.addEventListener("click", function () { showPending(); });
    document.getElementById("desk").addEventListener("submit", once);
  }
})();
