"""Uploads to other indexes, and events to webhooks."""
