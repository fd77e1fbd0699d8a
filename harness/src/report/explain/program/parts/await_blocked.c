/* Waits until an actor hangs in a call, or has done its last step. */
static void await_blocked(struct actor *who, int last)
{
	while (who->done < last) {
		long since_us = who->since_us;

		if (since_us && !who->sleeps && now_us() - since_us > 2000)
			return;
		usleep(100);
	}
}
