--
-- PostgreSQL database dump
--

\restrict lWxcJyK5GbLFEVR4OROhTzhfk3IgxAjzyJpmyRgKFdJdGNnL3JL9LSPNpg1WCOJ

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: 90001; Type: BLOB; Schema: -; Owner: -
--

SELECT pg_catalog.lo_create('90001');


--
-- Name: 90002; Type: BLOB; Schema: -; Owner: -
--

SELECT pg_catalog.lo_create('90002');


--
-- Data for Name: Mixed "Case".table; Type: TABLE DATA; Schema: Odd Schema; Owner: -
--

COPY "Odd Schema"."Mixed ""Case"".table" ("Id", "a.b", "select", "ünï", "tab	le", "new
line") FROM stdin;
1	x	\\		\N	\N
2	\N	\N	\N	\N	\N
\.


--
-- Data for Name: empty_table; Type: TABLE DATA; Schema: login; Owner: -
--

COPY login.empty_table (a, b) FROM stdin;
\.


--
-- Data for Name: nocols; Type: TABLE DATA; Schema: login; Owner: -
--

COPY login.nocols  FROM stdin;


\.


--
-- Data for Name: unlogged; Type: TABLE DATA; Schema: login; Owner: -
--

COPY login.unlogged (a) FROM stdin;
7
\.


--
-- Data for Name: base; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.base (a, b) FROM stdin;
1	base
\.


--
-- Data for Name: child; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.child (a, b, c) FROM stdin;
2	child	00000000-0000-0000-0000-000000000001
\.


--
-- Data for Name: commented; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.commented (a, b) FROM stdin;
1	2
2	4
3	6
\.


--
-- Data for Name: part_eu; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.part_eu (k, region, v) FROM stdin;
1	eu	e1
\.


--
-- Data for Name: part_sub_1; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.part_sub_1 (k, region, v) FROM stdin;
4	sub	s1
\.


--
-- Data for Name: part_us; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.part_us (v, region, k) FROM stdin;
u1	us	2
\N	us	3
\.


--
-- Data for Name: plain; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.plain (id, email, fixed, t, n, ts, tsn, d, b, j, arr, bits, iv, c, mood, moods, vb, exclude, col, after_gen) FROM stdin;
1	plain@example.com	x                                   	\N	3.00	2024-01-02 03:04:05.678+00	\N	\N	\\x00ff5c	{"k": "v\\\\w"}	{a,NULL,"b c"}	101	\N	z	it's; (fine)	\N	f	t		a
2	tab\there	                                    	line1\nline2\r\nline3	3.00	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	f	\N	back\\slash	\\N
3	\\.	\N	\\.\n\\.	3.00	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	f	\N	\b\f\v	COPY public.x (a) FROM stdin;
4	ünïcödé 🎉 é	\N		3.00	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	f	\N	-- PostgreSQL database dump complete	\\.
\.


--
-- Data for Name: typed; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.typed (x, y) FROM stdin;
1	y
\.


--
-- Name: Mixed "Case".table_Id_seq; Type: SEQUENCE SET; Schema: Odd Schema; Owner: -
--

SELECT pg_catalog.setval('"Odd Schema"."Mixed ""Case"".table_Id_seq"', 2, true);


--
-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -
--

BEGIN;

SELECT pg_catalog.lo_open('90001', 131072);
SELECT pg_catalog.lowrite(0, '\x5c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a275c2e0a27');
SELECT pg_catalog.lo_close(0);

SELECT pg_catalog.lo_open('90002', 131072);
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- PostgreSQL database dump complete
--

\unrestrict lWxcJyK5GbLFEVR4OROhTzhfk3IgxAjzyJpmyRgKFdJdGNnL3JL9LSPNpg1WCOJ

