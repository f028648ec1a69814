"""Opens opcua-client off-screen on one server, as an engineer would: connect, browse, look at a node, watch its value.

Runs in opcua-client's own environment, never in ours (it is GPL and brings Qt); nothing of minewatch is imported here.

    QT_QPA_PLATFORM=offscreen PYTHON look.py URL NAME [PICTURE.png]

URL is the server, NAME the browse name of a variable under Objects. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from PyQt5.QtCore import Qt
from PyQt5.QtGui import QFont
from PyQt5.QtWidgets import QApplication
from uaclient.mainwindow import Window

WAIT_S = 20.0


def main(url: str, name: str, picture: Path | None) -> int:
    """Ends with 0 where the value of the variable was seen to arrive."""
    app = QApplication(sys.argv[:1])
    app.setFont(QFont("Noto Sans CJK SC", 9))
    window = Window()
    window.resize(1500, 700)
    window.ui.logDockWidget_2.hide()
    window.ui.addrComboBox.setEditText(url)
    window.show()
    window.connect()
    try:
        seen = _look(app, window, name)
        if picture is not None:
            _settle(app, 1.0)
            window.grab().save(str(picture))
    finally:
        window.disconnect()
    print(json.dumps(seen, ensure_ascii=False))
    return 0 if seen["changes"] else 1


def _look(app: QApplication, window: Window, name: str) -> dict[str, object]:
    client = window.uaclient.client
    found = {child.read_browse_name().Name: child for child in client.nodes.objects.get_children()}
    window.tree_ui.expand_to_node(found[name])
    _settle(app, 0.5)
    window.datachange_ui._subscribe(found[name])
    changes: set[str] = set()
    end = time.monotonic() + WAIT_S
    while not changes and time.monotonic() < end:
        _settle(app, 0.2)
        changes |= {text for text in [window.datachange_ui.model.item(0, 1).text()] if text != "No Data yet"}
    view = window.ui.treeView
    view.setColumnWidth(0, 330)
    view.setColumnWidth(1, 300)
    attributes = window.ui.attrView.model()
    return {
        "namespaces": client.get_namespace_array(),
        "objects": sorted(found),
        "current": window.get_current_node().nodeid.to_string(),
        "attributes": [attributes.index(row, 0).data(Qt.DisplayRole) for row in range(attributes.rowCount())],
        "changes": sorted(changes),
    }


def _settle(app: QApplication, seconds: float) -> None:
    """Lets the window work for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        app.processEvents()
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None))
