"""German: labels, tooltips and sentences. What has no German yet stays English."""

from .labels import LABELS
from .sentences import SENTENCES
from .tooltips import TOOLTIPS

WORDS = LABELS | SENTENCES | TOOLTIPS
