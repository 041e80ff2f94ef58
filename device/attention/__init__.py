"""The attention policy: from what is seen of the driver on each frame to alerts.

`AttentionPolicy.update` is a pure state machine over `Sight.t_s`: no clock, no input or output, no randomness. It
has four stages:

1. Measure. `glances` says what one sight means by itself, and turns such readings into glances: where the driver has
   been looking and for how long. A majority vote over a short window removes flicker and keeps edges: a glance starts
   at its true time, not when the vote notices. The time on which the vote has not settled yet is called pending.
   `lids` measures how long the eyes have been closed, blinks and PERCLOS. Both build on the timers of `spells`.
2. Gate. A `Gate` of `policy` for each group of rules tells whether the speed of the car calls for them.
3. Judge. One class for each published rule gives its level and what it measured: `distraction` has the rules of the
   gaze, `drowsiness` those of eyes and mouth, `absence` those of a driver who cannot be seen. `rules` is what they
   share.
4. Alert. `alerts` joins the rules of a kind, and keeps cool-downs and acknowledgements.

Time between two sights is shared between them. Time in which nothing was seen (sights too far apart, no face, a gaze
too uncertain to judge, eyes closed for longer than a blink) is neither attention nor distraction: timers hold, and in
the end forget.

`settings` has the thresholds; `docs/attention.md` has the table of the rules. Sources: Commission Delegated
Regulations (EU) 2023/2590 (ADDW) and 2021/1341 (DDAW); Euro NCAP, Safe Driving: Driver Engagement; Kircher & Ahlstrom
2009 (AttenD); NHTSA 2012, Visual-Manual Driver Distraction Guidelines; Klauer et al. 2006 (100-car study); Wierwille
et al. 1994, Knipling & Wierwille 1994 (PERCLOS); Caffier et al. 2003 (long blinks); ISO 15007 (glances); openpilot's
`selfdrive/monitoring/policy.py`.
"""

from dashgaze.device.attention.policy import AttentionPolicy
from dashgaze.device.attention.settings import AttentionSettings

__all__ = ["AttentionPolicy", "AttentionSettings"]
