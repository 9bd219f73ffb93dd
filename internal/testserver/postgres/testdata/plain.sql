--
-- PostgreSQL database dump
--

\restrict 8yNcz9

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE FUNCTION public.shout(text) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $_$
  SELECT upper($1) || ';'
$_$;

CREATE TABLE public.notes (
    id integer NOT NULL,
    body text,
    raw bytea
);

CREATE TABLE public.empty (
    id integer
);

COPY public.notes (id, body, raw) FROM stdin;
1	tab\there, line\nbreak, back\\slash	\\x00ff
2	\N	\N
3		\\x
4	äöü 🔑 COPY public.notes (id) FROM stdin;	\N
5	\\.	\N
\.


COPY public.empty (id) FROM stdin;
\.


ALTER TABLE ONLY public.notes
    ADD CONSTRAINT notes_pkey PRIMARY KEY (id);

--
-- PostgreSQL database dump complete
--

\unrestrict 8yNcz9
