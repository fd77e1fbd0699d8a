/* Whether an actor has been in one step for so long. */
static int hangs(struct actor *who, long us)
{
	long since_us = who->since_us;

	return since_us && now_us() - since_us > us;
}
