"""How are events heard from Supabase Realtime?"""
