static long must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "cannot run: %s: %s\n", what, strerror(errno));
		exit(2);
	}
	return result;
}
