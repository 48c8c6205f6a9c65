"""Fake minions: thousands in one process, each speaking Salt's protocol to real masters and behaving as told."""
