"""Sensors: bands, units, storage and quality rules, declared in YAML."""

from sitsfusion.sensors.model import Band, BaselineOffset, BitTest, Encoding, QualityRule, Sensor
from sitsfusion.sensors.registry import get, load, names

__all__ = ["Band", "BaselineOffset", "BitTest", "Encoding", "QualityRule", "Sensor", "get", "load", "names"]
