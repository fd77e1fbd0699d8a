/* What is in a pipe: parts of the file, or bytes of its own. */
struct part {
	long offset, len;
	unsigned char *copy;
};

struct parts {
	struct part of[64];
	int first, end;
};

static struct parts {{PIPES}};

static void put(struct parts *pipe, long offset, ssize_t len, unsigned char *copy)
{
	if (len > 0)
		pipe->of[pipe->end++] = (struct part){ offset, len, copy };
}
