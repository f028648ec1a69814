/* Brings the page up to date from the server's own rendering of it: this script prints no value, it only moves what the
   server printed into place, node by node, so that focus, scroll and what a person typed stay where they are. */
(function () {
  "use strict";

  function sameKind(a, b) {
    return a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
  }

  function keyOf(node) {
    return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") || node.id || null : null;
  }

  /* The node of that name among these, from one place on; null where nothing is named or there. */
  function withKey(nodes, from, key) {
    for (let i = from; key !== null && i < nodes.length; i += 1) {
      if (keyOf(nodes[i]) === key) return nodes[i];
    }
    return null;
  }

  function copyAttributes(now, next) {
    Array.from(now.attributes).forEach(function (attribute) {
      const opened = attribute.name === "open" && now.nodeName === "DETAILS"; // by the reader, not by the server
      if (!opened && !next.hasAttribute(attribute.name)) now.removeAttribute(attribute.name);
    });
    Array.from(next.attributes).forEach(function (attribute) {
      if (now.getAttribute(attribute.name) !== attribute.value) now.setAttribute(attribute.name, attribute.value);
    });
  }

  function merge(now, next) {
    if (now.nodeType === Node.TEXT_NODE) {
      if (now.data !== next.data) now.data = next.data;
      return;
    }
    if (now.nodeType !== Node.ELEMENT_NODE || now.hasAttribute("data-keep")) return;
    copyAttributes(now, next);
    if (now.hasAttribute("data-rows") && window.minewatch.mergeRows) {
      window.minewatch.mergeRows(now, next);
    } else {
      mergeChildren(now, next);
    }
  }

  function mergeChildren(now, next) {
    const wanted = Array.from(next.childNodes);
    wanted.forEach(function (child, i) {
      let there = now.childNodes[i];
      const mine = withKey(now.childNodes, i, keyOf(child));
      while (mine && there !== mine) { // what has a name stays the same node: what stood before it goes
        now.removeChild(there);
        there = now.childNodes[i];
      }
      if (there && !mine && withKey(wanted, i, keyOf(there))) { // it is still wanted, further on
        now.insertBefore(document.importNode(child, true), there);
      } else if (!there) {
        now.appendChild(document.importNode(child, true));
      } else if (sameKind(there, child)) {
        merge(there, child);
      } else {
        now.replaceChild(document.importNode(child, true), there);
      }
    });
    while (now.childNodes.length > wanted.length) now.removeChild(now.lastChild);
  }

  window.minewatch = {merge: merge, mergeChildren: mergeChildren, mergeRows: null};
})();
