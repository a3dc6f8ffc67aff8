"""Whom this node knows, and how far each has read."""

from __future__ import annotations

from django.db import models


class Peer(models.Model):
    """A paired node. Without a URL it is passive: it calls us, we never call it."""

    name = models.SlugField(max_length=60, unique=True)
    url = models.URLField(max_length=500, blank=True)
    public_key = models.BinaryField()
    next_public_key = models.BinaryField(null=True, help_text="the key with which it is going to sign")
    knows_next = models.BooleanField(default=False, help_text="it has our newest key")
    can_pull = models.BooleanField(default=True, help_text="may read our changes")
    can_push = models.BooleanField(default=True, help_text="may bring us changes")
    relay = models.BooleanField(default=True, help_text="may pass on what others wrote, not only its own")
    only_models = models.JSONField(null=True, blank=True, help_text="labels of what is exchanged with it; null: all")
    read_only = models.JSONField(
        null=True, blank=True, help_text="models, or model.field, that it may not write here; null: users' rights"
    )
    revoked = models.DateTimeField(null=True, blank=True, help_text="since when nothing that it signs is believed")
    created = models.DateTimeField(auto_now_add=True)
    last_attempt = models.DateTimeField(null=True, blank=True)
    last_success = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)
    pull_sequence = models.BigIntegerField(default=0)
    pull_token = models.CharField(max_length=40, blank=True)
    pull_scope = models.CharField(max_length=40, blank=True)
    given = models.JSONField(default=list, help_text="the last cursors that it was given, newest last")
    given_scope = models.CharField(max_length=40, blank=True)
    acknowledged = models.BigIntegerField(default=0, help_text="our sequence up to which it has all that it gets")
    mid_feed = models.BooleanField(default=False, help_text="its feed was left before its end")
    rejoining = models.BooleanField(default=False, help_text="it has to show all that it has: we purged tombstones")
    known = models.TextField(blank=True, help_text="its version vector when it was last met")
    lag_pull = models.BigIntegerField(null=True, blank=True)
    lease = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        app_label = "handleref_sync"

    def __str__(self) -> str:
        return self.name


class Invite(models.Model):
    """A pairing token that was printed here. Only its hash is kept."""

    peer_name = models.SlugField(max_length=60)
    token_hash = models.CharField(max_length=64, unique=True)
    expires = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "handleref_sync"

    def __str__(self) -> str:
        return f"invite for {self.peer_name}"


class Nonce(models.Model):
    """A signed request that was accepted, remembered for as long as its signature would still be."""

    peer_name = models.SlugField(max_length=60)
    nonce = models.CharField(max_length=64)
    created = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        app_label = "handleref_sync"
        constraints = (models.UniqueConstraint(fields=["peer_name", "nonce"], name="handleref_sync_nonce_once"),)

    def __str__(self) -> str:
        return f"{self.peer_name} {self.nonce}"
