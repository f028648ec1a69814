"""The demo mine 演示数据·虚构煤矿: point tables (one CSV a device), courses, incidents, and the site that reads it."""
