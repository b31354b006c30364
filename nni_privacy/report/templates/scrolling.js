"use strict";
/* Boxes that scroll sideways can be scrolled by keyboard, too; what does not scroll is no stop of the tab key. */
(function () {
  function mark() {
    document.querySelectorAll(".scroll, .cell, figure, figure > div, .panels").forEach(function (box) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible";
      if (scrolls) {
        box.tabIndex = 0;
      } else {
        box.removeAttribute("tabindex");
      }
    });
  }
  new ResizeObserver(mark).observe(document.body);
  mark();
})();
