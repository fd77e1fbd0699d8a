/* Who does the steps of the scenario: how many are done, and since when there is another. */
struct actor {
	atomic_int done;
	atomic_long since_us;{{SLEEPS}}
};

static struct actor {{ACTORS}};

static long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void begin(struct actor *who)
{
	who->since_us = now_us();
}

static void end(struct actor *who, int step)
{
	who->done = step;
	who->since_us = 0;
}
