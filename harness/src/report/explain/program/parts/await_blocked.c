/* Waits until an actor hangs in a call, or has done its last step. */
static void await_blocked(struct actor *who, int last)
{
	while (who->done < last && (who->sleeps || !hangs(who, 2000)))
		usleep(100);
}
