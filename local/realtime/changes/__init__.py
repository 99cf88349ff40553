"""The write-ahead log as Supabase's Postgres Changes."""

from local.realtime.changes.feed import ChangeFeed
from local.realtime.changes.sessions import FeedLost
from local.realtime.changes.wanted import SubscriptionRefused, Wanted

__all__ = ["ChangeFeed", "FeedLost", "SubscriptionRefused", "Wanted"]
