"""The explorer's style sheet. Every colour is JupyterLab's own, so that it follows the theme.

What carries meaning has a colour of its own for notebooks elsewhere, which lack JupyterLab's.
"""

CSS = """
.facenb-explorer {
  --fx-up: var(--jp-brand-color1, #1976d2); --fx-down: var(--jp-warn-color1, #e65100);
  --fx-quiet: var(--jp-ui-font-color2, #767676); --fx-wrong: var(--jp-error-color1, #d32f2f);
  --fx-mark: var(--jp-border-color1, #999); --fx-line: var(--jp-border-color2, #bbb);
  max-width: 1100px; padding: 4px 2px; box-sizing: border-box;
  font-family: var(--jp-ui-font-family); font-size: 13px; color: var(--jp-ui-font-color1);
  --jp-widgets-inline-height: 27px; --jp-widgets-font-size: 13px;
}
.facenb-explorer .widget-html, .facenb-explorer .widget-html-content { line-height: 1.35; }
.facenb-explorer .widget-html-content { font-size: inherit; margin: 0; padding: 0; }
.facenb-explorer .fx-body .widget-html { margin: 0; }

/* tools */
.facenb-explorer .fx-tools {
  flex-flow: row wrap; gap: 6px; align-items: center; overflow: visible;
  padding-bottom: 10px; margin-bottom: 12px; border-bottom: 1px solid var(--fx-line);
}
.facenb-explorer .fx-tools .jupyter-button {
  width: auto; margin: 0; padding: 0 10px; border-radius: 4px; font-size: 13px;
  background: var(--jp-layout-color2); color: var(--jp-ui-font-color1);
}
.facenb-explorer .jupyter-button:hover:enabled { background: var(--jp-layout-color3); }
.facenb-explorer .jupyter-button:focus-visible { outline: 2px solid var(--fx-up); }
.facenb-explorer .jupyter-button:disabled { opacity: .45; }
.facenb-explorer .fx-tools .widget-text { width: 132px; margin: 0; }
.facenb-explorer .fx-tools .widget-text .widget-label {
  width: auto; min-width: 0; padding-right: 6px; font-weight: 600;
}
/* an upload button counts its files, "Load edit (0)": here that only puzzles */
.facenb-explorer .fx-tools .widget-upload { font-size: 0; }
.facenb-explorer .fx-tools .widget-upload i { font-size: 13px; }
.facenb-explorer .fx-tools .widget-upload::after { content: "Load edit"; font-size: 13px; }
.facenb-explorer .fx-tools .fx-space { flex: 1 1 auto; margin: 0; }

/* the two halves: sliders, pictures with the panel below; pictures on top where it is narrow */
.facenb-explorer .fx-body { flex-flow: row wrap-reverse; gap: 14px 28px; overflow: visible; }
.facenb-explorer .fx-sliders { flex: 1 1 280px; max-width: 440px; min-width: 0; }
.facenb-explorer .fx-rows { max-height: 520px; overflow: hidden auto; }
.facenb-explorer .fx-right { flex: 2 1 340px; min-width: 0; overflow: visible; }
.facenb-explorer .fx-heading {
  display: flex; align-items: baseline; gap: 8px; font-weight: 600; padding: 0 0 6px; margin: 0;
}
.facenb-explorer .fx-heading small {
  font-weight: 400; font-size: 12px; color: var(--fx-quiet);
}
.facenb-explorer .fx-heading .fx-hold { margin-left: auto; width: 44px; text-align: center; }

/* one slider */
.facenb-explorer .fx-slider { align-items: center; margin: 0; overflow: visible; height: 30px; }
.facenb-explorer .fx-slider .widget-hslider { flex: 1 1 auto; width: auto; margin: 0; }
.facenb-explorer .fx-slider .widget-hslider .widget-label {
  width: 88px; min-width: 88px; text-align: left; text-overflow: ellipsis; overflow: hidden;
}
.facenb-explorer .fx-slider .widget-readout {
  min-width: 44px; max-width: 44px; text-align: right; font-variant-numeric: tabular-nums;
  border-color: transparent; color: var(--fx-quiet);
}
.facenb-explorer .fx-slider .noUi-base::after { /* where nothing is edited */
  content: ""; position: absolute; left: calc(50% - .5px); top: -4px; width: 1px;
  height: calc(100% + 8px); background: var(--fx-mark); pointer-events: none;
}
.facenb-explorer .fx-moved .widget-hslider .widget-label,
.facenb-explorer .fx-moved .widget-readout {
  font-weight: 600; color: var(--jp-ui-font-color1);
}
.facenb-explorer .fx-slider .widget-checkbox, .facenb-explorer .fx-slider .fx-no-hold {
  width: 44px; margin: 0; flex: none;
}
.facenb-explorer .fx-slider .widget-checkbox label {
  display: flex; justify-content: center; align-items: center; width: 44px; height: 100%;
  padding: 0; line-height: 1;
}
.facenb-explorer .fx-slider .widget-checkbox input {
  margin: 0; accent-color: var(--fx-up);
}
.facenb-explorer .fx-moved .noUi-handle {
  background: var(--fx-up); border-color: var(--fx-up);
}

/* pictures */
.facenb-explorer .fx-pictures { gap: 12px; overflow: visible; }
.facenb-explorer .fx-picture { flex: 0 1 auto; min-width: 0; overflow: visible; }
.facenb-explorer .fx-picture .widget-image {
  max-width: 100%; height: auto; margin: 0; border-radius: 4px; object-fit: contain;
}

/* the panel: scores or strip */
.facenb-explorer .fx-panel-head {
  align-items: center; justify-content: space-between; margin: 8px 0 0; overflow: visible;
}
.facenb-explorer .fx-panel-head .widget-html { margin: 0; flex: 1 1 0; min-width: 0; }
.facenb-explorer .fx-panel-head .widget-html-content { min-width: 0; }
.facenb-explorer .fx-panel-head .fx-heading { padding: 0; }
.facenb-explorer .fx-panel-head small {
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
}
.facenb-explorer .fx-panel-head .jupyter-button {
  width: auto; flex: none; height: 24px; line-height: 24px; padding: 0 10px; margin: 0;
  border-radius: 4px;
}
.facenb-explorer .fx-panel { margin: 2px 0 0; }
.fx-chart { font-variant-numeric: tabular-nums; }
.fx-row {
  display: grid; align-items: center; column-gap: 8px; height: 17px; font-size: 12px;
  line-height: 17px;
  grid-template-columns: 84px minmax(0, 86px) minmax(60px, 1fr) minmax(0, 86px) 36px;
}
.fx-row span { white-space: nowrap; }
.fx-low, .fx-high {
  color: var(--fx-quiet); font-size: 11px; overflow: hidden; text-overflow: ellipsis;
}
.fx-low, .fx-change { text-align: right; }
.fx-change { font-weight: 600; }
.fx-row.small .fx-change { font-weight: 400; color: var(--fx-quiet); }
.fx-track { position: relative; height: 17px; }
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
.fx-strip figure { margin: 0; text-align: center; color: var(--fx-quiet); }
.fx-strip img { width: 100%; display: block; border-radius: 3px; }
.fx-strip figcaption { font-variant-numeric: tabular-nums; padding-top: 2px; }
.fx-strip .fx-here img { box-shadow: 0 0 0 2px var(--fx-up); }
.fx-strip .fx-here figcaption { font-weight: 600; color: var(--jp-ui-font-color1); }

/* what happened */
.facenb-explorer .fx-body .fx-status { min-height: 20px; margin: 12px 0 0; }
.fx-status .widget-html-content { overflow-wrap: anywhere; }
.fx-status .fx-error { color: var(--fx-wrong); font-weight: 600; }
.fx-status code { font-family: var(--jp-code-font-family); font-size: 12px; }

/* The saved picture stands in the page for readers without a kernel; where the explorer itself is
   alive, this sheet is too, and takes the output just before it away. */
.jp-OutputArea-child:has(+ .jp-OutputArea-child .facenb-explorer) { display: none; }
"""
