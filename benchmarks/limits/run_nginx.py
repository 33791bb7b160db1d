"""Fill in nginx.conf and become nginx: python run_nginx.py PORT"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

folder = tempfile.mkdtemp(prefix="bench-nginx-")
text = (Path(__file__).parent / "nginx.conf").read_text()
conf = Path(folder) / "nginx.conf"
conf.write_text(text.replace("@port@", sys.argv[1]).replace("@folder@", folder))
os.execvp("nginx", ["nginx", "-p", folder, "-c", str(conf)])
