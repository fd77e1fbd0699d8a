/* Waits until an actor has done a step, or hangs: in it, or in one before it. */
static void after(struct actor *who, int step)
{
	while (who->done < step && !hangs(who, 2000))
		usleep(100);
}
