"""Look at images before they are fused: what is there, and what would silently go wrong.

`inspect` looks at places on disk, also broken ones, and reports; `suggest_scene` writes down how to read them;
`check_radiometry` looks at the numbers of a scene that is open. Pixels are sampled: the report says how many.
"""

from sitsfusion.doctor.inspection import inspect, suggest_scene
from sitsfusion.doctor.radiometry import check_radiometry
from sitsfusion.doctor.report import Finding, Report, RoleReport

__all__ = ["Finding", "Report", "RoleReport", "check_radiometry", "inspect", "suggest_scene"]
