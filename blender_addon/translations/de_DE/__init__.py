"""German: labels and sentences. Tooltips of buttons and settings are English until somebody translates them."""

from .labels import LABELS
from .sentences import SENTENCES

WORDS = LABELS | SENTENCES
