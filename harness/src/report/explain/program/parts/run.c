static void run(const char *command)
{
	if (system(command) != 0) {
		fprintf(stderr, "cannot run: %s\n", command);
		exit(2);
	}
}
