/** The client as the page sees it: built, this is the file `brink.js` beside it. */

export * from "../src/index.js";
