static void set(int socket, int level, int option, int value)
{
	must(setsockopt(socket, level, option, &value, sizeof(value)), "setsockopt");
}
