// Tells the visitor if the page's scripts do not run. It is a classic script, on its own and outside the
// versioned folder, since it must work when the others are not found. main.js ends its watch (data-scripts).
(function () {
    var root = document.documentElement;
    // In a frame on another page (style.css): this is the one script that runs before anything is drawn.
    root.toggleAttribute("data-embedded", /[?&]embed\b/.test(location.search));
    var PATIENCE = 10000;
    var AGAIN = "srft-reloaded";

    /** @param {string} what @param {string} next */
    function say(what, next) {
        if (root.dataset.scripts || document.getElementById("no-scripts")) return;
        var box = document.createElement("div");
        box.id = "no-scripts";
        box.className = "trouble";
        [what, "What next: " + next].forEach(function (text) {
            var line = document.createElement("p");
            line.textContent = text;
            box.append(line);
        });
        at("errors").append(box);
        at("phase").textContent = "not loaded";
    }

    /** @param {string} id */
    function at(id) {
        return /** @type {HTMLElement} */ (document.getElementById(id));
    }

    // After a new version of the site, an old index.html asks for files that are gone: reload it, once.
    /** @param {string} what */
    function reload(what) {
        var before = null;
        try {
            before = sessionStorage.getItem(AGAIN);
            sessionStorage.setItem(AGAIN, String(Date.now()));
        } catch {
            before = String(Date.now());
        }
        var next = "reload the page; if that does not help, try another browser or network";
        if (before && Date.now() - Number(before) < 60000) return say(what, next);
        fetch(location.href, { cache: "reload" }).then(
            function () { location.reload(); },
            function () { say(what, next); },
        );
    }

    function loaded() {
        if (location.protocol === "file:") {
            return say(
                "This page must come from a web server: browsers load no modules from files.",
                "run web/serve.sh in the repository, or any static server in this folder, for example python3 -m http.server",
            );
        }
        setTimeout(function () {
            say("The page’s scripts have not started after 10 seconds.", "wait if the network is slow; else reload the page");
        }, PATIENCE);
    }

    addEventListener(
        "error",
        function (event) {
            if (root.dataset.scripts || location.protocol === "file:") return;
            var source = event.target instanceof HTMLScriptElement ? event.target.src : "";
            if (source) reload("A script of the page did not load: " + source + ", or one that it needs.");
            else if (event.message) say("The page’s script failed: " + event.message, "use a newer browser, or reload");
        },
        true,
    );
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", loaded);
    else loaded();
})();
