"""The explorer's style sheet. Every colour is JupyterLab's own, so that it follows the theme.

What carries meaning has a colour of its own for notebooks elsewhere, which lack JupyterLab's.
`--fx-size`, the side of each image on the page, comes with each explorer.
"""

CSS = """
.facenb-explorer {
  --fx-up: var(--jp-brand-color1, #1976d2); --fx-down: var(--jp-warn-color1, #e65100);
  --fx-quiet: var(--jp-ui-font-color2, #767676); --fx-wrong: var(--jp-error-color1, #d32f2f);
  --fx-mark: var(--jp-border-color1, #999); --fx-line: var(--jp-border-color2, #bbb);
  --fx-tick: 38px;
  container: facenb-explorer / inline-size;
  max-width: calc(2 * var(--fx-size) + 408px); padding: 4px 2px; box-sizing: border-box;
  font-family: var(--jp-ui-font-family); font-size: 13px; color: var(--jp-ui-font-color1);
  --jp-widgets-inline-height: 27px; --jp-widgets-font-size: 13px;
}
.facenb-explorer .widget-html, .facenb-explorer .widget-html-content { line-height: 1.35; }
.facenb-explorer .widget-html-content { font-size: inherit; margin: 0; padding: 0; }
.facenb-explorer .fx-body .widget-html { margin: 0; }
.facenb-explorer .jupyter-button {
  border-radius: 4px; background: var(--jp-layout-color2); color: var(--jp-ui-font-color1);
}
.facenb-explorer .jupyter-button:hover:enabled { background: var(--jp-layout-color3); }
.facenb-explorer .jupyter-button:focus-visible { outline: 2px solid var(--fx-up); }
.facenb-explorer .jupyter-button:disabled { opacity: .45; }

/* tools */
.facenb-explorer .fx-tools {
  flex-flow: row wrap; gap: 6px; align-items: center; overflow: visible;
  padding-bottom: 10px; margin-bottom: 12px; border-bottom: 1px solid var(--fx-line);
}
.facenb-explorer .fx-tools .jupyter-button {
  width: auto; margin: 0; padding: 0 10px; font-size: 13px;
}
.facenb-explorer .fx-tools .widget-text { width: 150px; margin: 0; }
.facenb-explorer .fx-tools .widget-text .widget-label {
  width: auto; min-width: 0; padding-right: 6px; font-weight: 600;
}
.facenb-explorer .fx-tools .fx-count { margin: 0 6px 0 0; color: var(--fx-quiet); }
/* an upload button counts its files, "Load edit (0)": here that only puzzles */
.facenb-explorer .widget-upload { font-size: 0 !important; }
.facenb-explorer .widget-upload i { font-size: 13px; }
.facenb-explorer .widget-upload::after { font-size: 13px; }
.facenb-explorer .fx-load-edit::after { content: "Load edit"; }
.facenb-explorer .fx-load-directions::after { content: "Load directions"; }
.facenb-explorer .fx-tools .fx-space { flex: 1 1 auto; margin: 0; }
@container facenb-explorer (max-width: 819px) {
  .facenb-explorer .fx-tools .fx-space { flex-basis: 100%; height: 0; } /* files: a line below */
}

/* sliders beside the images, the panel below these; where it is narrow, one below the other */
.facenb-explorer .fx-body {
  display: grid; gap: 12px clamp(16px, 2.6cqw, 32px); overflow: visible; align-items: start;
  grid-template: "left pictures" auto "left right" 1fr / clamp(290px, 30cqw, 360px) minmax(0, 1fr);
}
.facenb-explorer .fx-left { grid-area: left; min-width: 0; overflow: visible; }
.facenb-explorer .fx-right { grid-area: right; min-width: 0; overflow: visible; }
.facenb-explorer .fx-sliders { min-width: 0; overflow: visible; }
.facenb-explorer .fx-list {
  display: block; width: auto; max-height: calc(var(--fx-size) + 96px); overflow: hidden auto;
  scrollbar-gutter: stable; scrollbar-width: thin;
}
@container facenb-explorer (max-width: 819px) {
  .facenb-explorer .fx-body {
    grid-template: "pictures" auto "left" auto "right" auto / minmax(0, 1fr);
  }
  .facenb-explorer .fx-list { max-height: 230px; }
}
.facenb-explorer .fx-heading {
  display: flex; align-items: baseline; gap: 8px; font-weight: 600; padding: 0 0 6px; margin: 0;
}
.facenb-explorer .fx-heading small {
  font-weight: 400; font-size: 12px; color: var(--fx-quiet);
}
.facenb-explorer .fx-heading .fx-hold {
  margin-left: auto; flex: none; width: var(--fx-tick); text-align: center;
}
.facenb-explorer .fx-sliders > .widget-html:has(.fx-hold) { padding-right: 10px; }
.facenb-explorer .fx-search { width: auto; margin: 0 0 8px; }
.facenb-explorer .fx-search input { border-radius: 4px; }
.facenb-explorer .fx-heading .fx-held {
  flex: 1 1 0; min-width: 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
  text-align: right; color: var(--fx-up); font-weight: 600;
}
.facenb-explorer .fx-list .fx-group {
  display: block; width: 100%; height: 26px; line-height: 26px; margin: 0; padding: 0 2px;
  text-align: left; background: none; font-weight: 600; font-size: 12px;
  color: var(--fx-quiet); border-radius: 0; border-bottom: 1px solid var(--fx-line);
}
.facenb-explorer .fx-list .fx-group:hover:enabled { color: var(--jp-ui-font-color1); }
.facenb-explorer .fx-list .fx-group i { width: 12px; }
.facenb-explorer .fx-rows {
  display: grid; grid-template-columns: minmax(0, 1fr) var(--fx-tick); align-items: center;
  margin: 2px 0 6px; overflow: visible;
}
@container facenb-explorer (min-width: 620px) and (max-width: 819px) {
  .facenb-explorer .fx-rows {
    grid-template-columns: repeat(2, minmax(0, 1fr) var(--fx-tick)); column-gap: 8px;
  }
}
.facenb-explorer .fx-load-directions {
  width: auto; margin: 10px 0 0; align-self: flex-start; padding: 0 10px;
}

/* one slider */
.facenb-explorer .fx-rows > * { margin: 0; width: auto; height: 29px; min-width: 0; }
.facenb-explorer .fx-rows .widget-hslider .widget-label {
  width: 120px; min-width: 120px; text-align: left; text-overflow: ellipsis; overflow: hidden;
}
.facenb-explorer .fx-rows .slider-container { min-width: 60px; margin: 0 10px 0 4px; }
.facenb-explorer .fx-rows .widget-readout {
  min-width: 44px; max-width: 44px; text-align: right; font-variant-numeric: tabular-nums;
  border-color: transparent; color: var(--fx-quiet); margin-left: 2px;
}
.facenb-explorer .fx-rows .noUi-base::after { /* where nothing is edited */
  content: ""; position: absolute; left: calc(50% - .5px); top: -4px; width: 1px;
  height: calc(100% + 8px); background: var(--fx-mark); pointer-events: none;
}
.facenb-explorer .fx-moved .widget-label, .facenb-explorer .fx-moved .widget-readout {
  font-weight: 600; color: var(--jp-ui-font-color1);
}
.facenb-explorer .fx-moved .noUi-handle { background: var(--fx-up); border-color: var(--fx-up); }
.facenb-explorer .fx-rows .widget-checkbox label {
  display: flex; justify-content: center; align-items: center; width: 100%; height: 100%;
  padding: 0; line-height: 1;
}
.facenb-explorer .fx-rows .widget-checkbox input { margin: 0; accent-color: var(--fx-up); }

/* images: as large as there is room for, square while they load, real pixels for fine screens */
.facenb-explorer .fx-pictures {
  grid-area: pictures; display: grid; gap: 12px; overflow: visible;
  grid-template-columns: repeat(2, minmax(0, var(--fx-size)));
}
.facenb-explorer .fx-picture { min-width: 0; overflow: visible; }
.facenb-explorer .fx-picture .widget-image {
  width: 100%; height: auto; aspect-ratio: 1; margin: 0; border-radius: 4px; object-fit: contain;
  background: var(--jp-layout-color2);
}

/* the panel: scores or strip */
.facenb-explorer .fx-panel-head {
  align-items: center; gap: 8px; margin: 10px 0 0; overflow: visible;
}
.facenb-explorer .fx-panel-head .widget-html { margin: 0; flex: 1 1 0; min-width: 0; }
.facenb-explorer .fx-panel-head .widget-html-content { min-width: 0; }
.facenb-explorer .fx-panel-head .fx-heading { padding: 0; }
.facenb-explorer .fx-panel-head small {
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
}
.facenb-explorer .fx-panel-head .widget-dropdown { width: 136px; margin: 0; flex: none; }
.facenb-explorer .fx-panel-head select { border-radius: 4px; }
.facenb-explorer .fx-panel-head .jupyter-button {
  width: auto; flex: none; padding: 0 10px; margin: 0;
}
.facenb-explorer .fx-body .fx-panel { margin: 6px 0 0; }
.fx-chart { font-variant-numeric: tabular-nums; columns: 300px 2; column-gap: 28px; }
.fx-row {
  display: grid; align-items: center; column-gap: 8px; height: 18px; font-size: 12px;
  line-height: 18px; break-inside: avoid;
  grid-template-columns: 124px minmax(60px, 1fr) 40px minmax(0, 84px);
}
.fx-row span { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.fx-chart .fx-group {
  font-size: 11px; font-weight: 600; color: var(--fx-quiet); padding: 4px 0 1px;
  break-after: avoid;
}
.fx-towards { color: var(--fx-quiet); font-size: 11px; }
.fx-change { text-align: right; font-weight: 600; }
.fx-row.small .fx-change { font-weight: 400; color: var(--fx-quiet); }
.fx-row .fx-track { position: relative; height: 18px; overflow: visible; }
.fx-track::before {
  content: ""; position: absolute; left: 0; right: 0; top: 8px; height: 1px;
  background: var(--fx-line);
}
.fx-track i { position: absolute; box-sizing: border-box; }
.fx-mean { left: 50%; top: 3px; width: 1px; height: 11px; background: var(--fx-mark); }
.fx-bar { top: 6px; height: 5px; border-radius: 2px; opacity: .55; }
.fx-ring, .fx-dot { width: 9px; height: 9px; top: 4px; margin-left: -4.5px; border-radius: 50%; }
.fx-ring { border: 1.5px solid var(--fx-quiet); background: var(--jp-layout-color0); }
.fx-bar.up, .fx-dot.up { background: var(--fx-up); }
.fx-bar.down, .fx-dot.down { background: var(--fx-down); }
.fx-row.small .fx-dot, .fx-row.small .fx-bar { background: var(--fx-quiet); }
.fx-strip { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 6px; }
.fx-strip figure { margin: 0; text-align: center; color: var(--fx-quiet); min-width: 0; }
.fx-strip img { width: 100%; display: block; border-radius: 3px; }
.fx-strip figcaption { font-variant-numeric: tabular-nums; padding-top: 2px; }
.fx-strip .fx-here img { box-shadow: 0 0 0 2px var(--fx-up); }
.fx-strip .fx-here figcaption { font-weight: 600; color: var(--jp-ui-font-color1); }

/* what happened */
.facenb-explorer .fx-body .fx-status { min-height: 20px; margin: 10px 0 0; }
.fx-status .widget-html-content { overflow-wrap: anywhere; }
.fx-status .fx-error { color: var(--fx-wrong); font-weight: 600; }
.fx-status code { font-family: var(--jp-code-font-family); font-size: 12px; }

/* The saved picture stands in the page for readers without a kernel; where the explorer itself is
   alive, this sheet is too, and takes the output just before it away. */
.jp-OutputArea-child:has(+ .jp-OutputArea-child .facenb-explorer) { display: none; }
"""
