/** Icons as SVG paths in a box of 24 by 24, drawn for this page in the manner of NNI's own bar. */

export const OVERVIEW = ["M4 4h6v6H4z", "M14 4h6v6h-6z", "M4 14h6v6H4z", "M14 14h6v6h-6z"];
export const TRIALS = ["M3 21h18", "M6 21V11", "M12 21V4", "M18 21v-7"];
export const PRIVACY = ["M12 3l8 3v6c0 5-3.5 8-8 9-4.5-1-8-4-8-9V6z", "M9 12l2 2 4-4.5"];
export const RUNS = ["M8 6h12", "M8 12h12", "M8 18h12", "M4 6h.01", "M4 12h.01", "M4 18h.01"];
export const REPORT = ["M6 3h9l4 4v14H6z", "M9 12h7", "M9 16h7", "M9 8h3"];
export const DARK = ["M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z"];
export const LIGHT = ["M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z", "M12 2v2", "M12 20v2", "M2 12h2", "M20 12h2",
  "M5 5l1.4 1.4", "M17.6 17.6L19 19", "M5 19l1.4-1.4", "M17.6 6.4L19 5"];
export const CLOSE = ["M6 6l12 12", "M18 6L6 18"];
export const LEFT = ["M15 5l-7 7 7 7"];
export const RIGHT = ["M9 5l7 7-7 7"];
